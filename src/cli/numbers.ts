// Numbers on the command line: a parser for each kind of option, with the range in the message.

import { InvalidArgumentError } from "commander";

/** Of a stream: a packet is made from its number, which is a u32. */
export const MOST_PACKETS = 2 ** 32;

/** Parses a whole number from `lo` to `hi`; underscores and commas between digits are taken as people write them. */
export function whole(lo: number, hi: number): (text: string) => number {
  return (text) => {
    const digits = text.replace(/(?<=\d)[_,](?=\d{3})/g, "");
    const value = /^\d+$/.test(digits) ? Number(digits) : NaN;
    if (value >= lo && value <= hi) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${lo} to ${hi}.`);
  };
}

/** Parses a number above 0 and up to `hi`. */
export function positive(hi: number): (text: string) => number {
  return (text) => {
    const value = /^\d*\.?\d+$/.test(text) ? Number(text) : NaN;
    if (value > 0 && value <= hi) return value;
    throw new InvalidArgumentError(`It must be a number above 0 and up to ${hi}.`);
  };
}

/** 1234567 -> "1,234,567". */
export function grouped(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}

/** The share of `part` in `total`, as "12.3 %". */
export function percent(part: number, total: number): string {
  return `${(total === 0 ? 0 : (100 * part) / total).toFixed(1)} %`;
}
