// Packets for bench -> packet records: a ClassBench trace, or points drawn in the rules of a ClassBench set.
//
// A line of a trace begins with `src dst sport dport proto`, decimal numbers with blanks between; what follows is ignored.

import {
  CT_NEW,
  FIELD_COUNT,
  FIELD_CT_STATE,
  FIELD_DPORT,
  FIELD_DST,
  FIELD_LENGTH,
  FIELD_PROTO,
  FIELD_SPORT,
  FIELD_SRC,
  FIELD_TRANSPORT,
  FIELD_TTL,
} from "../layout.ts";
import type { ClassbenchRule } from "../rules/classbench.ts";
import { UsageError } from "./errors.ts";
import { nameOf } from "./files.ts";

/** FIELD_COUNT words a packet. */
export type Records = Uint32Array<ArrayBuffer>;

const COLUMNS = [
  { name: "source address", field: FIELD_SRC, max: 0xffffffff },
  { name: "destination address", field: FIELD_DST, max: 0xffffffff },
  { name: "source port", field: FIELD_SPORT, max: 65535 },
  { name: "destination port", field: FIELD_DPORT, max: 65535 },
  { name: "protocol", field: FIELD_PROTO, max: 255 },
] as const;

/** At most `most` packets. Throws UsageError. */
export function parseTrace(text: string, path: string, most: number): Records {
  const lines = text.split("\n");
  const records = new Uint32Array(Math.min(lines.length, most) * FIELD_COUNT);
  let count = 0;
  for (const [index, line] of lines.entries()) {
    if (count === most) break;
    if (line.trim() === "") continue;
    const values = line.trim().split(/\s+/, COLUMNS.length);
    COLUMNS.forEach(({ name, field, max }, column) => {
      const value = values[column];
      if (value === undefined || !/^\d{1,10}$/.test(value) || Number(value) > max) {
        const found = value === undefined ? "is missing" : `${value} is no number from 0 to ${max}`;
        throw new UsageError(`${nameOf(path)}:${index + 1}: the ${name} ${found}`);
      }
      records[count * FIELD_COUNT + field] = Number(value);
    });
    complete(records, count++);
  }
  if (count === 0) throw new UsageError(`${nameOf(path)}:1: there are no packets in it`);
  return records.subarray(0, count * FIELD_COUNT);
}

/** Nine in ten are points of a rule drawn evenly, the others of the whole space. */
export function drawTrace(rules: readonly ClassbenchRule[], count: number, seed: number): Records {
  const records = new Uint32Array(count * FIELD_COUNT);
  let state = seed;
  // mulberry32
  const draw = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (lo: number, hi: number): number => lo + Math.floor(draw() * (hi - lo + 1));
  for (let packet = 0; packet < count; packet++) {
    const rule = draw() < 0.9 ? rules[between(0, rules.length - 1)]! : EVERYTHING;
    const at = packet * FIELD_COUNT;
    records[at + FIELD_SRC] = between(rule.srcLo, rule.srcHi);
    records[at + FIELD_DST] = between(rule.dstLo, rule.dstHi);
    records[at + FIELD_SPORT] = between(rule.sportLo, rule.sportHi);
    records[at + FIELD_DPORT] = between(rule.dportLo, rule.dportHi);
    records[at + FIELD_PROTO] = between(rule.protoLo, rule.protoHi);
    complete(records, packet);
  }
  return records;
}

const EVERYTHING: ClassbenchRule = {
  ...{ srcLo: 0, srcHi: 0xffffffff, dstLo: 0, dstHi: 0xffffffff },
  ...{ sportLo: 0, sportHi: 65535, dportLo: 0, dportHi: 65535, protoLo: 0, protoHi: 255 },
};

/** What a trace does not tell: a whole packet of 40 bytes, the first of its connection, by no interface. */
function complete(records: Records, packet: number): void {
  const at = packet * FIELD_COUNT;
  records[at + FIELD_LENGTH] = 40;
  records[at + FIELD_TRANSPORT] = 20;
  records[at + FIELD_TTL] = 64;
  records[at + FIELD_CT_STATE] = CT_NEW << 2;
}
