// The folders of examples/: rules, host, packets, and what the kernel was seen to make of them.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Host } from "../../src/host/host.ts";
import { parseHost } from "../../src/host/parse.ts";
import { isSkipped, parseArrival } from "../../src/packet/line.ts";
import type { Arrival } from "../../src/packet/packet.ts";
import { parseRuleset } from "../../src/rules/parse.ts";
import { printRuleset } from "../../src/rules/print.ts";
import type { Ruleset } from "../../src/rules/ruleset.ts";
import { askOracle, readLines } from "./oracle.ts";
import type { Json, Verdict } from "./oracle.ts";

const FOLDER = fileURLToPath(new URL("../../examples", import.meta.url));

export interface Example {
  readonly name: string;
  /** Where the recorded verdicts stand. */
  readonly verdictsPath: string;
  readonly ruleset: Ruleset;
  readonly host: Host;
  readonly arrivals: readonly Arrival[];
  /** What the kernel says now; --stateless --trace. Throws where it cannot be asked. */
  readonly ask: () => readonly Verdict[];
}

export function readExamples(): readonly Example[] {
  return readdirSync(FOLDER, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => readExample(name));
}

function readExample(name: string): Example {
  const folder = join(FOLDER, name);
  const read = (file: string): string => readFileSync(join(folder, file), "utf8");
  const rulesFile = readdirSync(folder).find((file) => file.startsWith("rules."))!;
  const ruleset = parseRuleset(read(rulesFile), { file: rulesFile });
  const host = parseHost(read("host.json"), "host.json");
  const packets = read("packets.jsonl");
  const arrivals: Arrival[] = [];
  packets.split("\n").forEach((line, index) => {
    if (isSkipped(line)) return;
    const before = { packets: arrivals.length, time: arrivals.at(-1)?.time ?? 0 };
    arrivals.push(parseArrival(line, "packets.jsonl", index + 1, host, before));
  });
  return {
    ...{ name, ruleset, host, arrivals },
    verdictsPath: join(folder, "verdicts.jsonl"),
    ask: () => askOracle(printRuleset(ruleset), JSON.parse(read("host.json")) as Json, readLines(packets)),
  };
}
