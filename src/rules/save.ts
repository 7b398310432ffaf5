// The lines of an iptables-save dump that are no rules: `*filter`, `:INPUT DROP [0:0]`, and counters before a rule.
//
// Follows iptables/iptables-restore.c (1.8.9), with -c: counters are read.

import { parseDecimal64 } from "../net/number.ts";
import type { Line } from "./line.ts";
import { TABLES, type Counters, type TableName } from "./ruleset.ts";
import type { TableDraft } from "./table.ts";

/** `*filter`. The line is not empty. */
export function readTableName(line: Line): TableName {
  const word = line.word(0) ?? "";
  const place = word.startsWith("*") && !line.text.startsWith("*");
  if (place) line.fail("the line of a table must begin with its *", 0);
  if (!word.startsWith("*")) line.fail("this stands in no table: `*TABLE` begins one, COMMIT ends it", 0);
  const name = TABLES.find((table) => `*${table}` === word);
  if (name === undefined) return line.fail(`there is no table "${word.slice(1)}": ${TABLES.join(", ")}`, 0);
  if (line.count > 1) line.fail("nothing may stand behind the name of the table", 1);
  return name;
}

/**
 * `:CHAIN POLICY [packets:bytes]`, cut into words behind the colon.
 *
 * @returns false if something stands behind the `-` of a user chain that no one reads
 */
export function readChain(line: Line, draft: TableDraft): boolean {
  const name = line.word(0);
  const policy = line.word(1);
  if (name === undefined) return line.failAt("the name of the chain is missing", 0, 1);
  draft.declare(line, name);
  if (policy === undefined) return line.fail("a policy is missing: ACCEPT or DROP; - for a chain of one's own", 0);
  const text = line.word(2);
  const counters = text === undefined ? null : parseCounters(text);
  const sound = (text === undefined || counters !== null) && line.count <= 3;
  if (policy === "-") return sound;
  if (policy !== "ACCEPT" && policy !== "DROP") {
    return line.fail(`"${policy}" is no policy: ACCEPT or DROP; - for a chain of one's own`, 1);
  }
  if (!sound) line.fail("only counters may stand behind the policy: [PACKETS:BYTES]", 2);
  draft.setPolicy(line, name, 0, policy, counters);
  return true;
}

/** `[packets:bytes]`; null for anything else. */
export function parseCounters(text: string): Counters | null {
  const [, first, second] = /^\[(\d+):(\d+)\]$/.exec(text) ?? [];
  const packets = parseDecimal64(first ?? "");
  const bytes = parseDecimal64(second ?? "");
  return packets === null || bytes === null ? null : { packets, bytes };
}
