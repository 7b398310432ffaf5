// Short ways to give the parser a few lines and to say what came of them.

import assert from "node:assert/strict";
import { RuleError } from "../../src/rules/error.ts";
import { parseRuleset } from "../../src/rules/parse.ts";
import { printRuleset } from "../../src/rules/print.ts";
import type { Family, Ruleset, TableName } from "../../src/rules/ruleset.ts";

export function parse(text: string, table?: TableName): Ruleset {
  return parseRuleset(text, table === undefined ? { file: "test" } : { file: "test", table });
}

/** The `-A` lines that are printed for these lines of one table, joined by newlines. */
export function printed(lines: string, table: TableName = "filter", family: Family = 4): string {
  return rulesOf(printRuleset(parseRuleset(`*${table}\n${lines}\nCOMMIT\n`, { file: "test", family })));
}

export function rulesOf(save: string): string {
  return save
    .split("\n")
    .filter((line) => line.startsWith("-A"))
    .join("\n");
}

/** The error that the text is refused with; fails if it parses. */
export function refusal(text: string, table?: TableName): RuleError {
  try {
    parse(text, table);
  } catch (error) {
    if (error instanceof RuleError) return error;
    throw error;
  }
  return assert.fail(`not refused:\n${text}`);
}

/** `LINE:COLUMN WORD: SENTENCE`; the word is what the caret marks. */
export function refusedAt(text: string, table?: TableName): string {
  const { position, reason, message } = refusal(text, table);
  const carets = /\^+$/.exec(message)?.[0].length ?? 0;
  const line = message.split("\n")[1]!.slice(2);
  const word = line.slice(position.column - 1, position.column - 1 + carets);
  return `${position.line}:${position.column} ${word}: ${reason}`;
}

/** The same for these lines of one table; the first of them is line 2. */
export function refusedIn(lines: string, table: TableName = "filter"): string {
  return refusedAt(`*${table}\n${lines}\nCOMMIT\n`);
}
