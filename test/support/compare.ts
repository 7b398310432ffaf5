// The reference's answers beside the kernel's verdict lines.

import { toAnswer } from "../../src/classifier.ts";
import type { RuleRef } from "../../src/classifier.ts";
import { parseHost } from "../../src/host/parse.ts";
import { parseArrival } from "../../src/packet/line.ts";
import type { Arrival } from "../../src/packet/packet.ts";
import { UnsupportedError } from "../../src/reference/error.ts";
import { Reference } from "../../src/reference/reference.ts";
import { parseIpset } from "../../src/rules/ipset.ts";
import { parseRuleset } from "../../src/rules/parse.ts";
import { printRule } from "../../src/rules/print.ts";
import type { Ruleset } from "../../src/rules/ruleset.ts";
import type { Json, Verdict } from "./oracle.ts";

/** What is asked of both. */
export interface Question {
  readonly rules: string;
  readonly host: Json;
  readonly packets: readonly Json[];
  /** Of kernel_oracle.py: `--stateless`, `--trace`, `--conntrack`, `--backend nft`. */
  readonly args: readonly string[];
  /** `ipset save` of the sets that the rules name. */
  readonly sets?: string;
}

/** The rules with their sets. */
export function rulesetOf({ rules, sets }: Pick<Question, "rules" | "sets">): Ruleset {
  const ruleset = parseRuleset(rules, { file: "rules.v4" });
  return sets === undefined ? ruleset : { ...ruleset, sets: parseIpset(sets, "sets.ipset") };
}

/**
 * The reference's verdict lines; an UnsupportedError stands for a packet that it does not model. `numbers`: of the packets, by
 * which lots are drawn.
 */
export function askReference(
  question: Question,
  seed = 0,
  numbers: readonly number[] = [],
): readonly (Verdict | UnsupportedError)[] {
  const { host, packets, args } = question;
  const ruleset = rulesetOf(question);
  const model = parseHost(JSON.stringify(host), "host.json");
  const reference = new Reference(ruleset, model, {
    ...{ seed, stateless: args.includes("--stateless"), limitErrors: true },
    backend: args.includes("nft") ? "nft" : "legacy",
  });
  let time = 0;
  return packets.map((packet, index) => {
    const before = { packets: index, time };
    const arrival = parseArrival(JSON.stringify(packet), "packets.jsonl", index + 1, model, before);
    time = arrival.time;
    return answer(reference, ruleset, arrival, numbers[index] ?? index, args);
  });
}

function answer(
  reference: Reference,
  ruleset: Ruleset,
  arrival: Arrival,
  index: number,
  args: readonly string[],
): Verdict | UnsupportedError {
  try {
    const { outcome, trace, generatedTrace, connections } = reference.run(arrival, index);
    return toAnswer(arrival, outcome, {
      ...(args.includes("--trace")
        ? { traces: { trace, generated: generatedTrace, printed: (ref: RuleRef) => printed(ruleset, ref) } }
        : {}),
      ...(args.includes("--conntrack") ? { connections } : {}),
    });
  } catch (error) {
    if (error instanceof UnsupportedError) return error;
    throw error;
  }
}

/** As traces show it: a rule without `-A CHAIN `, a policy's word. */
export function printed(ruleset: Ruleset, { table, chain, number }: RuleRef): string {
  const found = ruleset.tables.find(({ name }) => name === table)?.chains.find(({ name }) => name === chain);
  if (found === undefined) throw new Error(`no chain ${table} ${chain}`);
  if (number === "policy") return found.policy ?? "-";
  return printRule("", found.rules[number - 1]!).replace(/^-A +/, "");
}

/**
 * Null if both say the same, in the same order of keys. Ports that the kernel draws by lot (`chosen`) need not be the
 * same.
 */
export function difference(kernel: Verdict, reference: Verdict | UnsupportedError): string | null {
  if (reference instanceof UnsupportedError) return reference.message;
  const chosen = reference["chosen"] === true;
  const wanted = JSON.stringify(simplified(kernel, chosen));
  const given = JSON.stringify(simplified(reference, chosen));
  return wanted === given ? null : `the kernel says\n  ${wanted}\nthe reference says\n  ${given}`;
}

function simplified(verdict: Verdict, chosen: boolean): Json {
  const kept = { ...verdict } as Record<string, unknown>;
  delete kept["chosen"];
  if (!chosen) return kept;
  const anyPort = (_: string, value: unknown): unknown =>
    typeof value === "object" && value !== null && "proto" in value
      ? { ...value, sport: "any", dport: "any", icmp_id: "any" }
      : value;
  return JSON.parse(JSON.stringify(kept, anyPort)) as Json;
}
