// Packets that belong together: the engine follows connections, NAT and the host's answers as the reference does, in every
// field, trace and event, whatever the clock does and however the packets are cut into batches.

import assert from "node:assert/strict";
import { test } from "node:test";
import { compileFirewall } from "../src/firewall.ts";
import type { Answer } from "../src/firewall.ts";
import type { Host } from "../src/host/host.ts";
import { parseHost } from "../src/host/parse.ts";
import { parseArrival } from "../src/packet/line.ts";
import type { Arrival } from "../src/packet/packet.ts";
import { UnsupportedError } from "../src/reference/error.ts";
import { Reference } from "../src/reference/reference.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import type { Ruleset } from "../src/rules/ruleset.ts";
import { Draw } from "./support/draw.ts";
import { drawKernelSequence } from "./support/kernel-sequence.ts";

const WORLDS = 60;
const PACKETS = 120;
/** More packets than the engine takes at once. */
const BATCHED_WORLDS = 6;
const BATCHED_PACKETS = 1300;
const SEED = 7;
const WAITS = [1, 2, 3, 12, 31, 65, 130, 400];

interface World {
  readonly ruleset: Ruleset;
  readonly host: Host;
  readonly arrivals: readonly Arrival[];
}

function drawWorld(number: number, packets = PACKETS): World {
  const drawn = drawKernelSequence(number, packets);
  const ruleset = parseRuleset(drawn.rules, { file: "rules.v4" });
  const host = parseHost(JSON.stringify(drawn.host), "host.json");
  const draw = new Draw(number);
  let time = 0;
  const arrivals = drawn.packets.map((packet, index) => {
    const wait = draw.chance(0.1) ? draw.pick(WAITS) : 0;
    const line = JSON.stringify({ ...packet, wait });
    const arrival = parseArrival(line, "packets.jsonl", index + 1, host, { packets: index, time });
    time = arrival.time;
    return arrival;
  });
  return { ruleset, host, arrivals };
}

/** Answers up to the first packet that either does not model. */
function bothAnswer({ ruleset, host, arrivals }: World, batch: number): { engine: Answer[]; reference: Answer[] } {
  const reference = new Reference(ruleset, host, { stateless: false, seed: SEED });
  const known: Answer[] = [];
  try {
    for (const arrival of arrivals) known.push(reference.run(arrival));
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
  }
  const firewall = compileFirewall(ruleset, host, { seed: SEED });
  const engine: Answer[] = [];
  try {
    for (let first = 0; first < known.length; first += batch) {
      engine.push(...firewall.run(arrivals.slice(first, Math.min(first + batch, known.length)), { trace: true }));
    }
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
  }
  return { engine, reference: known.slice(0, engine.length) };
}

/** Connections that time out together have no order of their own. */
function told({ connections, ...answer }: Answer): unknown {
  const inOrder = connections.map((event) => JSON.stringify(event)).sort();
  return JSON.parse(JSON.stringify({ ...answer, connections: inOrder })) as unknown;
}

test(`the engine follows connections as the reference does: ${WORLDS} worlds x ${PACKETS} packets`, () => {
  let compared = 0;
  for (let number = 0; number < WORLDS; number++) {
    const world = drawWorld(number);
    const { engine, reference } = bothAnswer(world, 1);
    for (const [index, answer] of engine.entries()) {
      assert.deepEqual(told(answer), told(reference[index]!), `world ${number}, packet ${index}`);
    }
    compared += engine.length;
  }
  assert.ok(compared > (WORLDS * PACKETS) / 8, `${compared} packets compared`);
});

test("batches of any size give the same answers", () => {
  let longest = 0;
  for (let number = WORLDS; number < WORLDS + BATCHED_WORLDS; number++) {
    const world = drawWorld(number, BATCHED_PACKETS);
    const { engine } = bothAnswer(world, 1);
    const short = { ...world, arrivals: world.arrivals.slice(0, engine.length) };
    for (const batch of [7, 512, Infinity]) {
      const again = bothAnswer(short, batch).engine;
      assert.deepEqual(again.map(told), engine.map(told), `world ${number} in batches of ${batch}`);
    }
    longest = Math.max(longest, engine.length);
  }
  assert.ok(longest > 1024, `${longest} packets at the most`);
});
