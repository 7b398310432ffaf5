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
    const shown = text.slice(0, position.column - 1).replace(/[^\t]/g, " ");
    super(`${place}: ${reason}\n  ${text}\n  ${shown}${"^".repeat(Math.max(1, length))}`);
    this.name = "RuleError";
    this.position = position;
    this.reason = reason;
  }
}
