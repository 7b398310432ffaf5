// A directory with rules.v4, host.json, packets.jsonl and the kernel's verdicts.jsonl -> what is in it.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Question } from "./compare.ts";
import { readLines } from "./oracle.ts";
import type { Json, Verdict } from "./oracle.ts";

export interface KernelCase extends Question {
  readonly name: string;
  readonly verdicts: readonly Verdict[];
}

/** Every case below the folder, by name. */
export function readKernelCases(folder: string): readonly KernelCase[] {
  const names = readdirSync(folder).filter((name) => existsSync(join(folder, name, "rules.v4")));
  return names.sort().map((name) => {
    const read = (file: string): string => readFileSync(join(folder, name, file), "utf8");
    return {
      name,
      rules: read("rules.v4"),
      ...(existsSync(join(folder, name, "sets.ipset")) ? { sets: read("sets.ipset") } : {}),
      host: JSON.parse(read("host.json")) as Json,
      packets: readLines(read("packets.jsonl")),
      verdicts: readLines(read("verdicts.jsonl")),
      // those that run_examples.py gives too
      args: [
        "--trace",
        "--conntrack",
        ...(existsSync(join(folder, name, "args")) ? read("args").trim().split(/\s+/) : []),
      ],
    };
  });
}
