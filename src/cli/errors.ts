// What went wrong, said to the person at the terminal.

import { CommanderError } from "commander";
import { HostError } from "../host/error.ts";
import { PacketError } from "../packet/error.ts";
import { EngineError } from "../firewall.ts";
import { UnsupportedError } from "../reference/error.ts";
import { RuleError } from "../rules/error.ts";

/** Bad input or usage that is no rule error: the message is a whole sentence and names file and line where there is one. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What stderr shall say about anything thrown; its last line names file and line. */
export function explain(error: unknown): string {
  if (error instanceof RuleError) {
    // the excerpt first: who reads only the last line learns the place and the reason
    const [sentence, ...excerpt] = error.message.split("\n");
    return [...excerpt, sentence].join("\n");
  }
  if (error instanceof HostError || error instanceof PacketError) return error.message;
  if (error instanceof UsageError || error instanceof EngineError || error instanceof UnsupportedError)
    return `verdictree: ${error.message}`;
  if (error instanceof CommanderError) return ""; // commander has said it
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `${detail}\nverdictree: this is a bug of verdictree, not of your input`;
}
