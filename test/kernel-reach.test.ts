// reach: packets in its regions and around them, one by one through the kernel: 10,000 for each place of the main example.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { endsAt } from "../src/diff/arrivals.ts";
import { BudgetError } from "../src/diff/diagram.ts";
import { packetsToward } from "../src/diff/toward.ts";
import type { Place } from "../src/diff/toward.ts";
import { parseHost } from "../src/host/parse.ts";
import { UnsupportedError } from "../src/reference/error.ts";
import { RuleError } from "../src/rules/error.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import { printRuleset } from "../src/rules/print.ts";
import { Draw } from "./support/draw.ts";
import { drawKernelWorld } from "./support/kernel-arbitrary.ts";
import { kernelAnswer } from "./support/kernel.ts";
import type { KernelLine } from "./support/kernel.ts";
import { askOracle, noKernel } from "./support/oracle.ts";
import type { Json } from "./support/oracle.ts";
import { packetsAround } from "./support/reaching.ts";

const SEED = Number(process.env["VERDICTREE_REACH_SEED"] ?? 1);
const PACKETS = Number(process.env["VERDICTREE_REACH_PACKETS"] ?? 10_000);
const WORLDS = Number(process.env["VERDICTREE_REACH_WORLDS"] ?? 40);
const BUDGET = { nodes: 2_000_000, steps: 20_000_000 };
const SKIP = { skip: noKernel() };

const PORTED = ["tcp", "udp"];

interface Counts {
  readonly inside: number;
  readonly around: number;
}

/** How many packets end there, and how many do not; each held to the kernel. */
function checkPackets(rules: string, host: Json, place: Place, draw: Draw, count: number): Counts {
  const toward = packetsToward(
    place,
    parseRuleset(rules, { file: "rules" }),
    parseHost(JSON.stringify(host), "host"),
    BUDGET,
  );
  const packets = [];
  for (const packet of packetsAround(toward, draw, 3 * count)) if (packets.push(packet) === count) break;
  const verdicts = askOracle(
    rules,
    host,
    packets.map(({ line }) => line),
    ["--stateless"],
  );
  packets.forEach(({ line, inside }, index) => {
    const verdict = verdicts[index] as unknown as KernelLine;
    const { outcome } = kernelAnswer(verdict);
    const proto = String(line["proto"]);
    const ends =
      endsAt(outcome, place) &&
      (place.proto === undefined || (place.proto === 6 && proto === "tcp")) &&
      (place.dport === undefined || PORTED.includes(proto));
    assert.equal(
      inside,
      ends,
      `${JSON.stringify(line)} to ${JSON.stringify(place)}: ${JSON.stringify(verdict)}\n${rules}\n${JSON.stringify(host)}`,
    );
  });
  const inside = packets.filter((packet) => packet.inside).length;
  return { inside, around: packets.length - inside };
}

/** What the main example publishes, and what is around it. */
const PLACES: Readonly<Record<string, Place>> = {
  "the first container's port 80": { dst: [[0xac110002, 0xac110002]], dport: [[80, 80]], proto: 6 },
  "the containers, by the uplinks": { dst: [[0xac110000, 0xac11ffff]], in: ["eth0", "eth1"] },
  "port 80 anywhere": { dport: [[80, 80]], proto: 6 },
};

for (const { name } of readdirSync("examples", { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
  const folder = `examples/${name}`;
  const rulesFile = readdirSync(folder).find((file) => file.startsWith("rules."))!;
  const main = name === "docker-host";
  for (const [where, place] of Object.entries(PLACES)) {
    test(`${name}: what ends at ${where}, and what does not, as the kernel has it`, SKIP, () => {
      const text = readFileSync(`${folder}/${rulesFile}`, "utf8");
      const rules = printRuleset(parseRuleset(text, { file: rulesFile }));
      const host = JSON.parse(readFileSync(`${folder}/host.json`, "utf8")) as Json;
      const count = main ? PACKETS : Math.ceil(PACKETS / 10);
      const { inside, around } = checkPackets(rules, host, place, new Draw(SEED), count);
      assert.equal(inside + around, count);
      // of some examples nothing ends there
      assert.ok(around > count / 10 && (inside > count / 10 || !main), `${inside} packets inside, ${around} around`);
    });
  }
}

test("what ends at places of random hosts, and what does not, as the kernel has it", SKIP, () => {
  let [inside, around] = [0, 0];
  for (let world = 0; world < WORLDS; world++) {
    const draw = new Draw(SEED * 700_000 + world);
    const { rules, host } = drawKernelWorld(SEED * 700_000 + world, 0);
    const place: Place = draw.pick([{ dst: [[0x0a000000, 0x0a00ffff]] }, { dport: [[0, 0x7fff]] }, {}]);
    try {
      const counts = checkPackets(rules, host, place, draw, 200);
      inside += counts.inside;
      around += counts.around;
    } catch (error) {
      if (!(error instanceof RuleError || error instanceof UnsupportedError || error instanceof BudgetError))
        throw error;
    }
  }
  assert.ok(inside > WORLDS && around > WORLDS, `${inside} packets inside, ${around} around`);
});
