// A directory with rules.v4, host.json, packets.jsonl and the kernel's verdicts.jsonl -> what is in it, for each backend.
//
// verdicts.nft.jsonl is there where iptables-nft gives other verdicts.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Question } from "./compare.ts";
import { readLines } from "./oracle.ts";
import type { Json, Verdict } from "./oracle.ts";

export interface KernelCase extends Question {
  readonly name: string;
  readonly verdicts: readonly Verdict[];
}

export const BACKENDS = ["legacy", "nft"] as const;

/** Every case below the folder, by name, as one backend answers it. */
export function readKernelCases(folder: string, backend: (typeof BACKENDS)[number] = "legacy"): readonly KernelCase[] {
  const names = readdirSync(folder).filter((name) => existsSync(join(folder, name, "rules.v4")));
  return names.sort().map((name) => {
    const has = (file: string): boolean => existsSync(join(folder, name, file));
    const read = (file: string): string => readFileSync(join(folder, name, file), "utf8");
    const own = `verdicts.${backend}.jsonl`;
    return {
      name,
      rules: read("rules.v4"),
      ...(has("sets.ipset") ? { sets: read("sets.ipset") } : {}),
      host: JSON.parse(read("host.json")) as Json,
      packets: readLines(read("packets.jsonl")),
      verdicts: readLines(read(has(own) ? own : "verdicts.jsonl")),
      // those that run_examples.py gives too
      args: ["--trace", "--conntrack", "--backend", backend, ...(has("args") ? read("args").trim().split(/\s+/) : [])],
    };
  });
}
