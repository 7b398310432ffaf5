// Rule files with seeded damage, and what must hold of them: they parse with every rule, or a RuleError names the line.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { RuleError } from "../../src/rules/error.ts";
import { parseRuleset } from "../../src/rules/parse.ts";
import { printRuleset } from "../../src/rules/print.ts";

export interface DamageCount {
  /** Damaged copies that still parsed, and those refused. */
  readonly parsed: number;
  readonly refused: number;
}

const FIXTURES = fileURLToPath(new URL("../fixtures/", import.meta.url));
/** Rule files that people have written, where they are at hand. */
const COLLECTED = fileURLToPath(new URL("../../../shared/data/rulesets/", import.meta.url));
const LONGEST = 100_000;

/** Whole rule files to be damaged: those of the project, or a collection of others (none where it is not at hand). */
export function rulesToDamage(which: "fixtures" | "collected"): readonly string[] {
  if (which === "fixtures") return readAll(FIXTURES, /\.(?:v4|transcript\.txt)$/);
  if (!existsSync(COLLECTED)) return [];
  const folders = ["real", "generated", "suites", "shaped"];
  return folders.flatMap((folder) => readAll(`${COLLECTED}${folder}/`, /\.(?:v4|v6|rules|txt)$/));
}

function readAll(folder: string, names: RegExp): string[] {
  const files = existsSync(folder) ? readdirSync(folder).filter((name) => names.test(name)) : [];
  return files.map((name) => readFileSync(`${folder}${name}`, "utf8")).filter((text) => text.length < LONGEST);
}

/**
 * Parses `count` damaged copies of the texts in turn. Throws an AssertionError that shows the copy if one is neither
 * parsed whole nor refused with a RuleError, or takes longer than five seconds.
 */
export function checkDamage(texts: readonly string[], count: number, seed: number): DamageCount {
  const random = randomNumbers(seed);
  let parsed = 0;
  for (let i = 0; i < count; i++) {
    const text = damage(texts[i % texts.length]!, random);
    const began = performance.now();
    try {
      checkWhole(text);
      parsed++;
    } catch (error) {
      if (!(error instanceof RuleError)) throw error;
      const { line, column } = error.position;
      const lines = text.split("\n");
      assert.ok(line >= 1 && line <= lines.length && column >= 1, `a place outside of the text: ${error.message}`);
    }
    assert.ok(performance.now() - began < 5000, `more than five seconds for:\n${text}`);
  }
  return { parsed, refused: count - parsed };
}

/** Parses the text; every `-A` line must be among the rules, unless a note or a line that takes rules away says more. */
function checkWhole(text: string): void {
  const ruleset = parseRuleset(text, { file: "damaged" });
  const lines = text.split("\n");
  if (lines.some((line) => /^\s*-[DFRXZE6]/.test(line))) return;
  const kept = new Set<number>();
  for (const table of ruleset.tables) {
    for (const chain of table.chains) for (const rule of chain.rules) kept.add(rule.position.line);
  }
  for (const [index, line] of lines.entries()) {
    if (!/^\s*(?:\[[\d:]*\]\s*)?-A/.test(line) || kept.has(index + 1)) continue;
    const noted = ruleset.notes.some((note) => note.startsWith(`damaged:${index + 1}:`));
    assert.ok(noted, `line ${index + 1} is lost without a word:\n${text}`);
  }
  const printed = printRuleset(ruleset);
  assert.equal(printRuleset(parseRuleset(printed, { file: "printed" })), printed, `printed otherwise:\n${text}`);
}

/** One to four wounds: cut, bytes changed, bits flipped, lines dropped, doubled or exchanged. */
function damage(text: string, random: Random): string {
  let bytes: Buffer = Buffer.from(text);
  for (let wounds = 1 + random(2) * random(4); wounds > 0; wounds--) bytes = wound(bytes, random);
  return bytes.toString("utf8");
}

type Random = (below: number) => number;

function wound(bytes: Buffer, random: Random): Buffer {
  const at = random(bytes.length + 1);
  switch (random(7)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      return bytes.subarray(at);
    case 2:
      return change(bytes, at, random(256));
    case 3:
      return change(bytes, at, (bytes[at] ?? 0) ^ (1 << random(8)));
    case 4:
      // characters that mean something here
      return change(bytes, at, ' \t\n\r"\\!-,:/+#*@[].0'.charCodeAt(random(20)));
    default:
      return woundLines(bytes, random);
  }
}

function change(bytes: Buffer, at: number, value: number): Buffer {
  const changed = Buffer.from(bytes);
  if (at < changed.length) changed[at] = value;
  return changed;
}

function woundLines(bytes: Buffer, random: Random): Buffer {
  const lines = bytes.toString("latin1").split("\n");
  const at = random(lines.length);
  const other = random(lines.length);
  const line = lines[at]!;
  switch (random(3)) {
    case 0:
      lines.splice(at, 1);
      break;
    case 1:
      lines.splice(other, 0, line);
      break;
    default:
      lines[at] = lines[other]!;
      lines[other] = line;
  }
  return Buffer.from(lines.join("\n"), "latin1");
}

/** Numbers from 0 to `below` - 1, the same for the same seed (a linear congruential generator, Numerical Recipes). */
function randomNumbers(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
