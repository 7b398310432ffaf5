// diff: two rule sets -> what behaves differently, proved; exit 0 if nothing does, 1 if something, 3 if it is not proved.

import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import type { RuleRef } from "../classifier.ts";
import { DEFAULT_BUDGET, diffRulesets } from "../diff/diff.ts";
import type { Sampled } from "../diff/sample.ts";
import type { DiffAnswer, Difference, DiffOptions, Undecided } from "../diff/diff.ts";
import { diffWays } from "../diff/way.ts";
import type { WayDifference, WayEnd } from "../diff/way.ts";
import type { Host } from "../host/host.ts";
import { BUILTIN_CHAINS, TABLES } from "../rules/ruleset.ts";
import type { Hook, Ruleset, TableName } from "../rules/ruleset.ts";
import { UsageError } from "./errors.ts";
import { refuseSharedInput } from "./files.ts";
import { loadHost } from "./hosts.ts";
import { Interrupt } from "./interrupt.ts";
import { whole } from "./numbers.ts";
import { Places } from "./places.ts";
import { Progress } from "./progress.ts";
import { addAsking, loadRuleset, rulePaths } from "./rulesets.ts";
import type { AskedRulesOptions } from "./rulesets.ts";
import { sampleInstead } from "./sample.ts";

interface DiffCommandOptions extends AskedRulesOptions {
  readonly chain?: NonNullable<DiffOptions["chain"]>;
  readonly host?: string;
  readonly budget: number;
  readonly samples: number;
  readonly seed: number;
  readonly json?: true;
}

const EXAMPLES = `
Regions are disjoint; in one, a field that is not named is free. "!eth0" is every interface but eth0.

Examples:
  verdictree diff old.v4 new.v4
  verdictree diff old.v4 new.v4 --chain filter:FORWARD --json
  verdictree diff old.v4 new.v4 --host host.json`;

/** Packets that are tried where there is no proof. */
const SAMPLES = 50_000_000;

export function registerDiff(program: Command): void {
  const command = program
    .command("diff")
    .description(
      "What behaves differently: every packet that another rule set treats otherwise, by the rules that decide.",
    )
    .argument("<OLD>", "the rules as they were")
    .argument("<NEW>", "the rules as they are to be");
  addAsking(command)
    .option("--chain <TABLE:CHAIN>", "one built-in chain alone, such as filter:FORWARD", readChain)
    .option("--host <HOST.json>", "over the whole way through this host: packets as they come in from outside")
    .option(
      "--budget <NODES>",
      "nodes of a chain's decision diagram before it is given up",
      whole(1_000, 60_000_000),
      DEFAULT_BUDGET.nodes,
    )
    .option("--samples <N>", "packets to try where there is no proof", whole(1, 1e12), SAMPLES)
    .addOption(new Option("--seed <N>", "of these packets").argParser(whole(0, 0xffffffff)).default(1))
    .option("--json", "a JSON object for each region")
    .addHelpText("after", EXAMPLES)
    .action(async (old: string, other: string, options: DiffCommandOptions) => {
      process.exitCode = await diff(old, other, options);
    });
}

function readChain(text: string): { readonly table: TableName; readonly hook: Hook } {
  const [table, hook] = text.split(":");
  const found = TABLES.find((name) => name === table);
  const chain = found === undefined ? undefined : BUILTIN_CHAINS[found].find((name) => name === hook);
  if (found === undefined || chain === undefined) throw new InvalidArgumentError(`"${text}" is no built-in chain`);
  return { table: found, hook: chain };
}

async function diff(oldPath: string, newPath: string, options: DiffCommandOptions): Promise<number> {
  if (options.host !== undefined && options.chain !== undefined)
    throw new UsageError("--chain looks at one chain, and --host at the whole way: one of them");
  // the sets are read for each side
  refuseSharedInput([...rulePaths(oldPath, options), ...rulePaths(newPath, options), options.host]);
  const old = await loadRuleset(oldPath, options);
  const other = await loadRuleset(newPath, options);
  const teller = new Teller(old, other, options);
  if (options.host !== undefined) {
    const code = await diffWay([old, other], await loadHost(options.host), teller, options);
    if (code !== null) return code;
  }
  return diffChains([old, other], teller, options);
}

const EQUAL = "equal: no packet is treated otherwise (proved)";

/** null: that is for the chains to tell. */
async function diffWay(
  [old, other]: readonly [Ruleset, Ruleset],
  host: Host,
  teller: Teller,
  options: DiffCommandOptions,
): Promise<number | null> {
  const interrupt = new Interrupt();
  const budget = { ...DEFAULT_BUDGET, nodes: options.budget };
  let differences = 0;
  const undecided: string[] = [];
  try {
    // where all chains are equal the whole way is, whatever it remembers
    let equal = true;
    for await (const _each of diffRulesets(old, other, { budget, signal: interrupt.signal })) {
      equal = false;
      break;
    }
    if (equal && !interrupt.signal.aborted) {
      teller.end(EQUAL);
      return 0;
    }
    for await (const each of diffWays([old, other], host, { budget, signal: interrupt.signal })) {
      if (each.found === "undecided") undecided.push(each.reason);
      else {
        differences++;
        teller.tellWay(each);
      }
    }
  } finally {
    interrupt.release();
  }
  if (interrupt.signal.aborted) {
    teller.end(`interrupted: ${count(differences, "region")} known so far, there may be more`);
    return 130;
  }
  if (undecided.length > 0) {
    teller.undecidedWay(undecided);
    return 3;
  }
  if (differences === 0) {
    teller.end(
      "no packet of 40 bytes or more that comes in as the first of its connection ends otherwise; chain by chain:",
    );
    return null;
  }
  teller.end(`${count(differences, "region")} of packets that come in as the first of their connection`);
  return 1;
}

async function diffChains(
  [old, other]: readonly [Ruleset, Ruleset],
  teller: Teller,
  options: DiffCommandOptions,
): Promise<number> {
  const interrupt = new Interrupt();
  const progress = new Progress("chains", 0, options.quiet !== undefined);
  const undecided: Undecided[] = [];
  let differences = 0;
  try {
    const found = diffRulesets(old, other, {
      ...(options.chain === undefined ? {} : { chain: options.chain }),
      budget: { ...DEFAULT_BUDGET, nodes: options.budget },
      signal: interrupt.signal,
      progress: (done, all) => {
        progress.update(done, `of ${all}`);
      },
    });
    for await (const each of found) {
      progress.stop();
      if (each.found === "undecided") undecided.push(each);
      else {
        differences++;
        teller.tell(each);
      }
    }
  } finally {
    progress.stop();
    interrupt.release();
  }
  if (interrupt.signal.aborted) {
    teller.end(`interrupted: ${count(differences, "region")} known so far, there may be more`);
    return 130;
  }
  if (undecided.length > 0) {
    teller.undecided(undecided, await sampleInstead(old, other, undecided, options));
    return 3;
  }
  teller.end(differences === 0 ? EQUAL : `${count(differences, "region")}, and nothing else`);
  return differences === 0 ? 0 : 1;
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

class Teller {
  readonly #places: readonly [Places, Places];
  readonly #json: boolean;
  readonly #quiet: boolean;
  #group = "";

  constructor(old: Ruleset, other: Ruleset, { json, quiet }: DiffCommandOptions) {
    this.#places = [new Places(old), new Places(other)];
    this.#json = json !== undefined;
    this.#quiet = quiet !== undefined;
  }

  tell(difference: Difference): void {
    process.stdout.write(this.#json ? `${JSON.stringify(forMachines(difference))}\n` : this.#forPeople(difference));
  }

  tellWay(difference: WayDifference): void {
    const { kind, old, new: other, region, witness, outcomes } = difference;
    if (this.#json) {
      const [before, after] = [old, other].map((end, side) => {
        const { verdict, ...rest } = end;
        const { rule } = outcomes[side]!;
        return { verdict, ...(rule === null ? {} : { rule: `${rule.chain}:${rule.number}` }), ...rest };
      });
      const place = outcomes[1].rule ?? outcomes[0].rule;
      const where = place === null ? {} : { table: place.table, chain: place.chain };
      process.stdout.write(`${JSON.stringify({ ...where, kind, old: before, new: after, region, witness })}\n`);
      return;
    }
    const rules = outcomes.map(({ rule }, side) => (rule === null ? "routing" : this.#rule(side as 0 | 1, rule)));
    const group = `${kind}: ${endInWords(old)} -> ${endInWords(other)}\n  old ${rules[0]!}\n  new ${rules[1]!}\n`;
    const fields = Object.entries(region).map(([name, values]) => `${name}=${shortened(values)}`);
    const text = `    ${fields.join(" ") || "everything"}\n      such as ${JSON.stringify(witness)}\n`;
    process.stdout.write(group === this.#group ? text : group + text);
    this.#group = group;
  }

  undecidedWay(reasons: readonly string[]): void {
    const sampled = "nothing was sampled";
    process.stdout.write(
      this.#json
        ? `${JSON.stringify({ kind: "undecided", undecided: reasons.map((reason) => ({ reason })), sampled: 0 })}\n`
        : `${reasons.map((reason) => `undecided: ${reason}\n`).join("")}${sampled}\n`,
    );
  }

  end(sentence: string): void {
    if (!this.#json) process.stdout.write(`${sentence}\n`);
    else if (!this.#quiet) process.stderr.write(`${sentence}\n`);
  }

  undecided(chains: readonly Undecided[], { packets, witness }: Sampled): void {
    const none =
      packets === 0 ? "nothing was sampled" : `no difference in ${packets.toLocaleString("en")} packets: not a proof`;
    const tried = witness === null ? none : `a difference by sampling: ${JSON.stringify(witness)}; there may be others`;
    if (this.#json) {
      const undecided = chains.map(({ table, chain, reason }) => ({ table, chain, reason }));
      process.stdout.write(`${JSON.stringify({ kind: "undecided", undecided, sampled: packets, witness })}\n`);
    } else {
      for (const { table, chain, reason } of chains) process.stdout.write(`${table} ${chain}: undecided: ${reason}\n`);
      process.stdout.write(`${tried}\n`);
    }
  }

  #forPeople(difference: Difference): string {
    const { table, chain, kind, old, new: other, region, guards, share, witness, around } = difference;
    const head = `${table} ${chain}: ${kind}: ${inWords(old)} -> ${inWords(other)}`;
    const rules = `  old ${this.#rule(0, old.rule)}\n  new ${this.#rule(1, other.rule)}`;
    const group = `${head}\n${rules}\n`;
    const fields = Object.entries(region).map(([name, values]) => `${name}=${shortened(values)}`);
    const said = guards.map(({ guard, holds }) => `${holds ? "" : "not "}(${guard})`);
    const where = [...fields, ...said].join(" ") || "everything";
    const more = Object.keys(around).length === 0 ? "" : ` with ${JSON.stringify(around)}`;
    const text = `    ${where}\n      ${percent(share)}, such as ${JSON.stringify(witness)}${more}\n`;
    if (group === this.#group) return text;
    this.#group = group;
    return group + text;
  }

  #rule(side: 0 | 1, ref: RuleRef): string {
    const places = this.#places[side];
    if (!places.has(ref)) return `${ref.chain}:${ref.number}`;
    const place = places.placeOf(ref);
    return `${ref.chain}:${ref.number} ${place === "" ? "" : `(${place}) `}${places.textOf(ref)}`;
  }
}

const MOST_WORDS = 12;

function shortened(values: readonly string[]): string {
  if (values.length <= MOST_WORDS) return values.join(",");
  return `${values.slice(0, MOST_WORDS).join(",")},... (${values.length})`;
}

function percent(share: number): string {
  return `${(share * 100).toPrecision(3)} % of what may come`;
}

function endInWords({ verdict, out, with: with_, to, source }: WayEnd): string {
  const port = to?.port ?? null;
  return [
    verdict,
    ...(out === undefined ? [] : [`by ${out}`]),
    ...(with_ === undefined ? [] : [`with ${with_}`]),
    ...(to === undefined ? [] : [`to ${to.address ?? ""}${port === null ? "" : `:${port}`}`]),
    ...(source === undefined ? [] : [`(${source})`]),
  ].join(" ");
}

function inWords({ verdict, options, logs, notes, changes }: DiffAnswer): string {
  const told = [...(logs ?? []), ...(notes ?? []), ...(changes ?? [])].map((each) => `, ${each}`).join("");
  return `${verdict}${options === undefined ? "" : ` ${options}`}${told}`;
}

function forMachines({
  table,
  chain,
  kind,
  old,
  new: other,
  region,
  guards,
  share,
  witness,
  around,
}: Difference): object {
  const side = ({ rule, ...answer }: DiffAnswer): object => {
    const { verdict, ...rest } = answer;
    return { verdict, rule: `${rule.chain}:${rule.number}`, ...rest };
  };
  return {
    ...{ table, chain, kind, old: side(old), new: side(other), region },
    ...(guards.length === 0 ? {} : { guards }),
    ...{ share, witness },
    ...(Object.keys(around).length === 0 ? {} : { around }),
  };
}
