// Many clients behind few ports: ranges that run full, clients that meet, connections that make room. The kernel decides,
// and what it draws by lot reference and engine draw too (support/lots.ts), so that everything after it is compared to the letter.

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
import { askReference, rulesetOf } from "./support/compare.ts";
import type { Question } from "./support/compare.ts";
import { drawCrowd } from "./support/crowd.ts";
import { Draw } from "./support/draw.ts";
import { numberDrawing } from "./support/lots.ts";
import { askOracle, noKernel } from "./support/oracle.ts";
import type { Json } from "./support/oracle.ts";

const KERNEL_WORLDS = 40;
const KERNEL_PACKETS = 300;
const WORLDS = 40;
const PACKETS = 1000;
const SEED = 7;
/** Seconds: all connections of datagrams, or of segments without an answer, are over. */
const WAITS = [31, 121];

/** What a run of packets came to. */
interface Counts {
  made: number;
  /** Of these, ports drawn by lot. */
  lots: number;
  /** Packets for which no port was left. */
  full: number;
  answered: number;
}

const NOTHING: Counts = { made: 0, lots: 0, full: 0, answered: 0 };

function assertCrowded({ made, lots, full, answered }: Counts, packets: number): void {
  assert.ok(made > packets / 10 && lots > packets / 50 && full > packets / 50 && answered > packets / 50);
}

interface Kind {
  readonly made: boolean;
  readonly chosen: boolean;
  readonly full: boolean;
  readonly answered: boolean;
}

function add(counts: Counts, { made, chosen, full, answered }: Kind): void {
  counts.made += Number(made);
  counts.lots += Number(made && chosen);
  counts.full += Number(full);
  counts.answered += Number(answered);
}

/** What is left out and what is undefined are the same; connections that time out together have no order of their own. */
function plain({ connections, ...answer }: Answer): unknown {
  const inOrder = connections.map((event) => JSON.stringify(event)).sort();
  return JSON.parse(JSON.stringify({ ...answer, connections: inOrder })) as unknown;
}

/** Now and then the clock goes on far enough for datagrams' connections to time out. */
function arrivalsOf({ packets, ...world }: Question, draw: Draw): { host: Host; arrivals: readonly Arrival[] } {
  const host = parseHost(JSON.stringify(world.host), "host.json");
  let time = 0;
  const arrivals = packets.map((packet, index) => {
    const line = JSON.stringify({ ...packet, wait: draw.chance(0.005) ? draw.pick(WAITS) : 0.001 });
    const arrival = parseArrival(line, "packets.jsonl", index + 1, host, { packets: index, time });
    time = arrival.time;
    return arrival;
  });
  return { host, arrivals };
}

function without(object: Json, ...keys: readonly string[]): Json {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !keys.includes(name)));
}

test("kernel and reference say the same of ranges that run full, port by port", { skip: noKernel() }, (context) => {
  const counts = { ...NOTHING };
  for (let number = 0; number < KERNEL_WORLDS; number++) {
    const world = drawCrowd(number, KERNEL_PACKETS);
    const begun = Date.now() / 1000;
    const timed = askOracle(world.rules, world.host, world.packets, [...world.args, "--times"]);
    const kernel = timed.map((verdict) => without(verdict, "time"));
    const atTheirTimes = world.packets.map((packet, i) => ({
      ...packet,
      time: begun + Number(timed[i]!["time"]),
    }));
    const ruleset = rulesetOf(world);
    const numbers = kernel.map((verdict, i) => numberDrawing(ruleset, verdict, SEED, i));
    const reference = askReference({ ...world, packets: atTheirTimes }, SEED, numbers);
    kernel.forEach((verdict, i) => {
      const answer = reference[i]!;
      assert.ok(!(answer instanceof UnsupportedError));
      assert.deepEqual(
        without(answer, "chosen"),
        verdict,
        `world ${number}, packet ${i}: ${JSON.stringify(world.packets[i])}`,
      );
      const events = (verdict["conntrack"] ?? []) as readonly Json[];
      add(counts, {
        made: events.some(({ event }) => event === "new"),
        chosen: answer["chosen"] === true,
        full: verdict["verdict"] === "dropped" && verdict["where"] === "POSTROUTING",
        answered: verdict["ct_state"] === "ESTABLISHED",
      });
    });
  }
  context.diagnostic(JSON.stringify(counts));
  assertCrowded(counts, KERNEL_WORLDS * KERNEL_PACKETS);
});

test("the engine fills ranges as the reference does", (context) => {
  const counts = { ...NOTHING };
  for (let number = 0; number < WORLDS; number++) {
    const world = drawCrowd(number, PACKETS);
    const { host, arrivals } = arrivalsOf(world, new Draw(number));
    const ruleset = rulesetOf(world);
    const reference = new Reference(ruleset, host, { stateless: false, seed: SEED });
    const wanted = arrivals.map((arrival) => reference.run(arrival));
    const given = compileFirewall(ruleset, host, { seed: SEED }).run(arrivals, { trace: true });
    given.forEach((answer, i) => {
      assert.deepEqual(plain(answer), plain(wanted[i]!), `world ${number}, packet ${i}`);
      const { verdict, where, chosen, ctState } = answer.outcome;
      add(counts, {
        made: answer.connections.some(({ event }) => event === "new"),
        chosen,
        full: verdict === "dropped" && where === "POSTROUTING",
        answered: ctState === "ESTABLISHED",
      });
    });
  }
  context.diagnostic(JSON.stringify(counts));
  assertCrowded(counts, WORLDS * PACKETS);
});
