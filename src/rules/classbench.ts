// A ClassBench filter set -> rules of five ranges, the first of which that holds decides.
//
//   @src/len  dst/len  sport_lo : sport_hi  dport_lo : dport_hi  proto/mask  [flags/mask]
//   @199.82.143.176/32  105.134.170.16/32  0 : 65535  1704 : 1704  0x06/0xFF
//
// As the filter set generator writes it (D. E. Taylor, J. S. Turner, "ClassBench: A Packet Classification Benchmark").
// The column of TCP flags is accepted where it asks nothing.

import { formatAddress, parseAddress, prefixMask } from "../net/address.ts";
import { RuleError } from "./error.ts";

/** Both ends belong to each range. */
export interface ClassbenchRule {
  readonly srcLo: number;
  readonly srcHi: number;
  readonly dstLo: number;
  readonly dstHi: number;
  readonly sportLo: number;
  readonly sportHi: number;
  readonly dportLo: number;
  readonly dportHi: number;
  readonly protoLo: number;
  readonly protoHi: number;
}

/** The first line that is not empty begins with the @ of a filter set. */
export function isClassbench(text: string): boolean {
  return /^\ufeff?\s*@\d/.test(text);
}

const NUMBER = "(\\d+)";
const HEX = "(0[xX][0-9a-fA-F]+)";
const GAP = "[ \\t]+";
const LINE = new RegExp(
  `^@([\\d.]+)/${NUMBER}${GAP}([\\d.]+)/${NUMBER}` +
    `${GAP}${NUMBER}[ \\t]*:[ \\t]*${NUMBER}${GAP}${NUMBER}[ \\t]*:[ \\t]*${NUMBER}` +
    `${GAP}${HEX}/${HEX}(?:${GAP}${HEX}/${HEX})?[ \\t]*$`,
);

/** @throws RuleError for whatever is not exactly of this form */
export function parseClassbench(text: string, file: string): ClassbenchRule[] {
  const rules: ClassbenchRule[] = [];
  let number = 0;
  for (const written of text.replace(/^\ufeff/, "").split("\n")) {
    number++;
    const line = written.endsWith("\r") ? written.slice(0, -1) : written;
    if (/^[ \t]*$/.test(line)) continue;
    rules.push(parseLine(line, (reason, word) => refuse(reason, file, number, line, word)));
  }
  if (rules.length === 0) refuse("no rules here", file, 1, "", "");
  return rules;
}

type Refuse = (reason: string, word: string) => never;

function parseLine(line: string, refuse: Refuse): ClassbenchRule {
  const words = LINE.exec(line);
  if (words === null) {
    return refuse(
      "not of the form @src/len dst/len sport_lo : sport_hi dport_lo : dport_hi 0xPROTO/0xMASK (decimal, one rule a line)",
      line,
    );
  }
  const [, src, srcLength, dst, dstLength, sportLo, sportHi, dportLo, dportHi, proto, protoMask, flags, flagsMask] =
    words;
  if (flagsMask !== undefined && Number(flagsMask) !== 0) {
    refuse("a rule that asks TCP flags is not modelled; only the mask 0x0000 is", `${flags ?? ""}/${flagsMask}`);
  }
  const source = prefix(src!, srcLength!, refuse);
  const destination = prefix(dst!, dstLength!, refuse);
  const sport = ports(sportLo!, sportHi!, refuse);
  const dport = ports(dportLo!, dportHi!, refuse);
  const protocol = protocols(proto!, protoMask!, refuse);
  return {
    srcLo: source.lo,
    srcHi: source.hi,
    dstLo: destination.lo,
    dstHi: destination.hi,
    sportLo: sport.lo,
    sportHi: sport.hi,
    dportLo: dport.lo,
    dportHi: dport.hi,
    protoLo: protocol.lo,
    protoHi: protocol.hi,
  };
}

function prefix(address: string, length: string, refuse: Refuse): { lo: number; hi: number } {
  const word = `${address}/${length}`;
  const value = parseAddress(address) ?? refuse(`${address} is no IPv4 address`, address);
  const bits = Number(length);
  if (bits > 32) refuse(`the prefix length ${length} is out of range 0..32`, word);
  const hostBits = ~prefixMask(bits) >>> 0;
  const lo = (value & ~hostBits) >>> 0;
  if ((value & hostBits) !== 0)
    refuse(`${word} has bits below its prefix; it would be ${formatAddress(lo)}/${length}`, word);
  return { lo, hi: lo + hostBits };
}

function ports(lo: string, hi: string, refuse: Refuse): { lo: number; hi: number } {
  for (const port of [lo, hi]) if (Number(port) > 65535) refuse(`port ${port} is out of range 0..65535`, port);
  if (Number(lo) > Number(hi)) refuse(`the range ${lo} : ${hi} is empty`, lo);
  return { lo: Number(lo), hi: Number(hi) };
}

/** 0xFF: this protocol; 0x00: any; another mask only if the protocols it leaves are neighbours. */
function protocols(proto: string, mask: string, refuse: Refuse): { lo: number; hi: number } {
  const [value, bits] = [Number(proto), Number(mask)];
  const word = `${proto}/${mask}`;
  if (value > 255 || bits > 255) refuse(`protocol ${word} is out of range 0x00..0xFF`, word);
  const free = ~bits & 255;
  if ((free & (free + 1)) !== 0) refuse(`the protocols of ${word} are no interval; that is not modelled`, word);
  if (bits !== 0 && (value & free) !== 0) refuse(`${word} has bits outside its mask`, word);
  const lo = value & bits;
  return { lo, hi: lo + free };
}

/** @param word the caret stands under its first place */
function refuse(reason: string, file: string, number: number, line: string, word: string): never {
  const column = Math.max(0, line.indexOf(word));
  throw new RuleError(reason, { file, line: number, column: column + 1 }, line, word.trimEnd().length);
}
