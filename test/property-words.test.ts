// The engine answers as the reference does where rules ask for what is seldom asked (test/support/kernel-words.ts).

import assert from "node:assert/strict";
import { test } from "node:test";
import { Draw } from "./support/draw.ts";
import { compareEngine } from "./support/kernel-engine.ts";
import { drawKernelWords } from "./support/kernel-words.ts";
import { showWorld } from "./support/kernel-world.ts";

const WORLDS = 80;
const PACKETS = 200;

for (const clock of [false, true]) {
  const title = clock ? ", as time passes" : "";
  test(`the engine answers like the reference to matches and targets that are seldom used${title}`, () => {
    let compared = 0;
    for (let seed = 1; seed <= WORLDS; seed++) {
      const world = drawKernelWords(seed, PACKETS, clock);
      const answer = compareEngine(world);
      assert.equal(answer.difference, null, `seed ${seed}: ${showWorld(world)}`);
      compared += answer.compared;
    }
    assert.ok(compared > (WORLDS * PACKETS * 9) / 10, `${compared} packets were compared`);
  });
}

test("tables of hashlimit grow, are full and forget", () => {
  const rules = [
    "--hashlimit-upto 2/min --hashlimit-burst 2 --hashlimit-mode srcip,srcport --hashlimit-name large",
    "--hashlimit-above 1/min --hashlimit-burst 1 --hashlimit-mode srcip --hashlimit-name full --hashlimit-htable-max 300 " +
      "--hashlimit-htable-size 7 --hashlimit-htable-expire 9000",
  ].map((options) => `-A FORWARD -m hashlimit ${options}\n`);
  const draw = new Draw(1);
  const packets = Array.from({ length: 6000 }, (_, index) => ({
    in: "eth0",
    src: `10.0.0.${draw.below(256)}`,
    dst: "10.1.0.1",
    proto: "udp",
    sport: draw.below(40),
    dport: 53,
    ...(index % 100 === 0 ? { wait: draw.below(8) } : {}),
  }));
  const host = { interfaces: ["eth0", "eth1"].map((name, n) => ({ name, addresses: [`10.${n}.1.1/16`] })) };
  const text = `*filter\n:FORWARD ACCEPT [0:0]\n${rules.join("")}COMMIT\n`;
  const answer = compareEngine({ rules: text, host, packets, args: ["--stateless"] });
  assert.deepEqual(answer, { compared: packets.length, difference: null });
});
