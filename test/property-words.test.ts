// The engine answers as the reference does where rules ask for what is seldom asked (test/support/kernel-words.ts).

import assert from "node:assert/strict";
import { test } from "node:test";
import { compareEngine } from "./support/kernel-engine.ts";
import { drawKernelWords } from "./support/kernel-words.ts";
import { showWorld } from "./support/kernel-world.ts";

const WORLDS = 150;
const PACKETS = 200;

test("the engine answers like the reference to matches and targets that are seldom used", () => {
  let compared = 0;
  for (let seed = 1; seed <= WORLDS; seed++) {
    const world = drawKernelWords(seed, PACKETS);
    const answer = compareEngine(world);
    assert.equal(answer.difference, null, `seed ${seed}: ${showWorld(world)}`);
    compared += answer.compared;
  }
  assert.ok(compared > (WORLDS * PACKETS * 9) / 10, `${compared} packets were compared`);
});
