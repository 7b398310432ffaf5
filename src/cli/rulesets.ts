// RULES on the command line -> one Ruleset: a positional file, or several --rules [TABLE=]FILE merged.

import type { Command } from "commander";
import { mergeRulesets, parseRuleset } from "../rules/parse.ts";
import { TABLES } from "../rules/ruleset.ts";
import type { Ruleset, TableName } from "../rules/ruleset.ts";
import { UsageError } from "./errors.ts";
import { nameOf, readText } from "./files.ts";

export interface RulesOptions {
  readonly rules?: readonly string[];
  readonly quiet?: true;
}

/** Gives the command RULES, --rules and --quiet. */
export function addRules(command: Command): Command {
  return command
    .argument("[RULES]", "iptables-save or iptables -S output, or a terminal transcript; - is standard input")
    .option("--rules <[TABLE=]FILE>", "rules of one or more tables; may be given several times", collect)
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

/** The files that RULES and --rules name. */
export function rulePaths(
  positional: string | undefined,
  { rules = [] }: RulesOptions,
): readonly (string | undefined)[] {
  return [positional, ...rules.map((value) => sourceOf(value).path)];
}

/** Reads, parses and merges; what the parser has to say goes to stderr. */
export async function loadRuleset(positional: string | undefined, options: RulesOptions): Promise<Ruleset> {
  return parseTexts(await readRules(positional, options), options);
}

export function parseTexts(texts: readonly RulesText[], options: Pick<RulesOptions, "quiet">): Ruleset {
  const parsed = texts.map(({ file, table, text }) =>
    parseRuleset(text, table === undefined ? { file } : { file, table }),
  );
  const ruleset = parsed.length === 1 ? parsed[0]! : mergeRulesets(parsed);
  if (options.quiet === undefined) for (const note of ruleset.notes) process.stderr.write(`note: ${note}\n`);
  return ruleset;
}

function sourceOf(value: string): { readonly path: string; readonly table: TableName | undefined } {
  const at = value.indexOf("=");
  const table = TABLES.find((name) => name === value.slice(0, Math.max(0, at)));
  if (table !== undefined) return { path: value.slice(at + 1), table };
  return { path: value, table: undefined };
}
