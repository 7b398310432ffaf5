// RULES on the command line -> one Ruleset: a positional file, or several --rules [TABLE=]FILE merged.

import type { Command } from "commander";
import { parseAddress } from "../net/address.ts";
import { parseAddress6 } from "../net/address6.ts";
import { assume, parseAssumption } from "../rules/assume.ts";
import type { Assumption } from "../rules/assume.ts";
import { parseIpset } from "../rules/ipset.ts";
import { isMatchName } from "../rules/matches.ts";
import { mergeRulesets, parseRuleset } from "../rules/parse.ts";
import { TABLES } from "../rules/ruleset.ts";
import type { IpSet, Ruleset, TableName } from "../rules/ruleset.ts";
import { UsageError } from "./errors.ts";
import { nameOf, readText } from "./files.ts";
import { Progress } from "./progress.ts";

export interface RulesOptions {
  readonly rules?: readonly string[];
  readonly resolve?: readonly string[];
  readonly quiet?: true;
}

/** Of commands that ask what rules do. */
export interface AskedRulesOptions extends RulesOptions {
  readonly ipset?: readonly string[];
  readonly assume?: readonly string[];
}

/** Gives the command RULES, --rules, --resolve and --quiet. */
export function addRules(command: Command): Command {
  return addReading(addSources(command));
}

/** ... and --ipset and --assume, for commands that ask what rules do. */
export function addAskedRules(command: Command): Command {
  return addAsking(addSources(command));
}

/** The same without RULES and --rules, for commands that name their files otherwise. */
export function addAsking(command: Command): Command {
  return addReading(command)
    .option("--ipset <FILE>", "the sets that rules name, as `ipset save` prints them", collect)
    .option(
      "--assume <NAME=ANSWER>",
      "what a match counts as that cannot be known: NAME is of the match, or of a rule as in 'filter INPUT:3'; ANSWER match or no-match",
      collect,
    );
}

function addSources(command: Command): Command {
  return command
    .argument("[RULES]", "iptables-save or iptables -S output, or a terminal transcript; - is standard input")
    .option("--rules <[TABLE=]FILE>", "rules of one or more tables; may be given several times", collect);
}

function addReading(command: Command): Command {
  return command
    .option("--resolve <HOST=ADDRESS>", "the address of a host that rules name; may be given several times", collect)
    .option("--quiet", "no notes and no progress on stderr");
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** A rule file, as its text has not been looked at yet. */
export interface RulesText {
  readonly file: string;
  readonly table: TableName | undefined;
  readonly text: string;
}

/** The texts of RULES or of every --rules, in order. */
export async function readRules(positional: string | undefined, options: RulesOptions): Promise<readonly RulesText[]> {
  const { rules = [] } = options;
  if (positional !== undefined && rules.length > 0) {
    throw new UsageError("give the rules either as RULES or with --rules, not both");
  }
  const sources = positional === undefined ? rules.map(sourceOf) : [{ path: positional, table: undefined }];
  if (sources.length === 0) throw new UsageError("no rules are given: name a file, or - for standard input");

  const texts: RulesText[] = [];
  for (const { path, table } of sources) texts.push({ file: nameOf(path), table, text: await readText(path) });
  return texts;
}

/** The files that RULES, --rules and --ipset name. */
export function rulePaths(
  positional: string | undefined,
  { rules = [], ipset = [] }: AskedRulesOptions,
): readonly (string | undefined)[] {
  return [positional, ...rules.map((value) => sourceOf(value).path), ...ipset];
}

/** Reads, parses and merges; what the parser has to say goes to stderr. */
export async function loadRuleset(positional: string | undefined, options: AskedRulesOptions): Promise<Ruleset> {
  return parseTexts(await readRules(positional, options), options);
}

/** The rules, with sets and assumptions; notes go to stderr. */
export async function parseTexts(texts: readonly RulesText[], options: AskedRulesOptions): Promise<Ruleset> {
  const hosts = hostsOf(options.resolve ?? []);
  const assumptions = (options.assume ?? []).map(assumptionOf);
  const bar = new Progress("bytes of rules", sumOf(texts.map(({ text }) => text.length)), options.quiet !== undefined);
  let read = 0;
  const parsed: Ruleset[] = [];
  try {
    for (const { file, table, text } of texts) {
      const progress = (bytes: number): void => {
        bar.update(read + bytes);
      };
      parsed.push(parseRuleset(text, { file, hosts, progress, ...(table === undefined ? {} : { table }) }));
      read += text.length;
    }
  } finally {
    bar.stop();
  }
  const merged = parsed.length === 1 ? parsed[0]! : mergeRulesets(parsed);
  const sets = await loadSets(options.ipset ?? []);
  const { ruleset, assumed } = assume(sets.length === 0 ? merged : { ...merged, sets }, assumptions);
  if (options.quiet === undefined) {
    for (const note of ruleset.notes) process.stderr.write(`note: ${note}\n`);
    const counted = sets.filter(({ counters }) => counters).map(({ name }) => name);
    if (counted.length > 0) process.stderr.write(`note: counters of sets are left alone: ${counted.join(", ")}\n`);
    for (const { assumption, rules } of assumed) process.stderr.write(`note: ${wordsOf(assumption, rules)}\n`);
  }
  return ruleset;
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

/** Rules that a note names. */
const MOST_NAMED = 5;

function wordsOf({ text, of, holds }: Assumption, rules: readonly string[]): string {
  const named = rules.slice(0, MOST_NAMED).join(", ") + (rules.length > MOST_NAMED ? ", ..." : "");
  if (rules.length === 0) return `--assume '${text}': no rule needs it`;
  const answer = holds ? "match" : "no match";
  const what = of.kind === "match" ? `match ${of.name}` : "what cannot be known";
  return `assumed: ${what} counts as ${answer} in ${rules.length} rule${rules.length === 1 ? "" : "s"}: ${named}`;
}

function assumptionOf(text: string): Assumption {
  const assumption = parseAssumption(text);
  if (assumption === null) {
    throw new UsageError(
      `--assume '${text}' is not NAME=match or NAME=no-match, with the name of a match or a rule as in 'filter INPUT:3'`,
    );
  }
  const { of } = assumption;
  if (of.kind === "match" && !isMatchName(of.name)) {
    throw new UsageError(`--assume '${text}': iptables has no match ${of.name}`);
  }
  return assumption;
}

function hostsOf(values: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const hosts = new Map<string, readonly string[]>();
  for (const value of values) {
    const at = value.indexOf("=");
    const [name, address] = [value.slice(0, Math.max(0, at)), value.slice(at + 1)];
    if (name === "" || (parseAddress(address) === null && parseAddress6(address) === null)) {
      throw new UsageError(`--resolve '${value}' is not HOST=ADDRESS`);
    }
    hosts.set(name, [...(hosts.get(name) ?? []), address]);
  }
  return hosts;
}

/** The sets of all files. Throws if one stands in two of them. */
async function loadSets(paths: readonly string[]): Promise<readonly IpSet[]> {
  const sets = new Map<string, IpSet>();
  for (const path of paths) {
    for (const set of parseIpset(await readText(path), nameOf(path))) {
      if (sets.has(set.name)) throw new UsageError(`${nameOf(path)}: set ${set.name} stands in another --ipset too`);
      sets.set(set.name, set);
    }
  }
  return [...sets.values()];
}

function sourceOf(value: string): { readonly path: string; readonly table: TableName | undefined } {
  const at = value.indexOf("=");
  const table = TABLES.find((name) => name === value.slice(0, Math.max(0, at)));
  if (table !== undefined) return { path: value.slice(at + 1), table };
  return { path: value, table: undefined };
}
