// What is wrong with a rule file, said so that the reader finds it: place, line, caret, and what is allowed.

import type { Position } from "./ruleset.ts";

/** Thrown for input we cannot honour exactly. `message` is complete, with the line and a caret below it. */
export class RuleError extends Error {
  readonly position: Position;
  /** The sentence alone, without place and line. */
  readonly reason: string;

  /** @param text the line as written @param length how many characters the caret marks */
  constructor(reason: string, position: Position, text: string, length = 1) {
    const place = `${position.file}:${position.line}:${position.column}`;
    // of a long line the part around the caret
    const from = Math.max(0, Math.min(position.column - 1 - LENGTH / 2, text.length - LENGTH));
    const shown = text.slice(from, from + LENGTH);
    const before = shown.slice(0, position.column - 1 - from).replace(/[^\t]/g, " ");
    const caret = "^".repeat(Math.max(1, Math.min(length, LENGTH - before.length)));
    super(`${place}: ${reason}\n  ${shown}\n  ${before}${caret}`);
    this.name = "RuleError";
    this.position = position;
    this.reason = reason;
  }
}

/** Longest piece of a line that is shown; rules are far shorter. */
const LENGTH = 1000;
