// Matches that remember what they have seen, or draw by lot.
//
// Follows libxt_limit.c and libxt_statistic.c of iptables 1.8.9.
// Differs: where iptables-save would round a rate away another unit is taken, so that the text means the same.

import { bucketOf } from "../../net/limit.ts";
import { optionsOf, type Extension } from "../extension.ts";
import type { Line } from "../line.ts";
import type { LimitMatch, Match, StatisticMatch } from "../ruleset.ts";
import { not } from "../types.ts";
import { readNumber } from "../values.ts";

const limit: Extension<LimitMatch> = {
  name: "limit",
  options: optionsOf([{ names: "limit" }, { names: "limit-burst" }]),
  read(given) {
    const { line } = given;
    const rate = given.find("limit");
    const burst = given.find("limit-burst");
    const match: LimitMatch = {
      kind: "limit",
      average: rate === undefined ? DEFAULT_AVERAGE : readRate(line, rate.word, rate.argument),
      burst: burst === undefined ? 5 : readNumber(line, burst.word, burst.argument, 1, 10000),
    };
    const { cost, cap } = bucketOf(match.average, match.burst);
    if (cap < cost) {
      given.fail("the kernel refuses this limit: so many tokens at so slow a rate overflow its counter");
    }
    return match;
  },
  print: (match) => ` --limit ${printRate(match)}${match.burst === 5 ? "" : ` --limit-burst ${match.burst}`}`,
};

/** XT_LIMIT_SCALE: units of `average` in a second. */
const LIMIT_SCALE = 10_000;

/** 3/hour */
const DEFAULT_AVERAGE = (LIMIT_SCALE * 3600) / 3;

/** Seconds of the units, each of which may be abbreviated to one letter. */
const RATE_UNITS = [
  ["second", 1],
  ["minute", 60],
  ["hour", 3600],
  ["day", 86400],
] as const;

/** `5`, `5/s`, `5/minute` (parse_rate() in libxt_limit.c). */
function readRate(line: Line, word: number, text: string): number {
  const [, count = "", slash, unit = ""] = /^(\d+)(\/(.*))?$/.exec(text) ?? [];
  const seconds =
    slash === undefined ? 1 : RATE_UNITS.find(([name]) => unit !== "" && name.startsWith(unit.toLowerCase()))?.[1];
  const rate = Number(count);
  if (count === "" || seconds === undefined || rate === 0 || rate > 0x7fffffff) {
    return line.fail(`"${text}" is no rate: NUMBER, or NUMBER/second, minute, hour or day`, word);
  }
  const average = Math.floor((LIMIT_SCALE * seconds) / rate);
  if (average === 0) line.fail(`the rate ${text} is too fast: 10000 a second is the most`, word);
  return average;
}

const statistic: Extension<StatisticMatch> = {
  name: "statistic",
  options: optionsOf([
    { names: "mode" },
    { names: "probability", negatable: true },
    { names: "every", negatable: true },
    { names: "packet" },
  ]),
  read(given) {
    const { line } = given;
    const mode = given.need("mode");
    const probability = given.find("probability");
    const every = given.find("every");
    const packet = given.find("packet");
    if (mode.argument === "random") {
      const stray = every ?? packet;
      if (stray !== undefined) line.fail("--every and --packet belong to --mode nth", stray.word);
      if (probability === undefined) return line.fail("--mode random needs --probability", mode.word);
      return {
        kind: "statistic",
        mode: "random",
        probability: readProbability(line, probability.word, probability.argument),
        negated: probability.negated,
      };
    }
    if (mode.argument !== "nth") line.fail(`"${mode.argument}" is no mode: random or nth`, mode.word);
    if (probability !== undefined) line.fail("--probability belongs to --mode random", probability.word);
    if (every === undefined || packet === undefined) {
      return line.fail("--mode nth needs --every and --packet", mode.word);
    }
    const n = readNumber(line, every.word, every.argument, 1, 0xffffffff);
    return {
      kind: "statistic",
      mode: "nth",
      every: n,
      packet: readNumber(line, packet.word, packet.argument, 0, n - 1),
      negated: every.negated,
    };
  },
  print: (match) =>
    match.mode === "random"
      ? ` --mode random${not(match)} --probability ${printProbability(match.probability)}`
      : ` --mode nth${not(match)} --every ${match.every} --packet ${match.packet}`,
};

/** In units of 2^-31, to the nearest (lround()). */
function readProbability(line: Line, word: number, text: string): number {
  const value = /^(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text) ? Number(text) : NaN;
  if (!(value >= 0 && value <= 1)) return line.fail(`"${text}" is no probability: 0 to 1`, word);
  return Math.round(0x80000000 * value);
}

/** Units of a rate, in 1/10,000 s. */
const PRINTED_UNITS = [
  ["day", 864_000_000],
  ["hour", 36_000_000],
  ["min", 600_000],
  ["sec", 10_000],
] as const;

/** The finest unit whose rounding is small, as print_rate() in libxt_limit.c chooses it. */
function printRate({ average }: LimitMatch): string {
  let chosen = 0;
  for (let i = 1; i < PRINTED_UNITS.length; i++) {
    const period = PRINTED_UNITS[i]![1];
    if (average > period || Math.floor(period / average) < period % average) break;
    chosen = i;
  }
  // a few rates would be read back as another one: 54003/day as 2250/hour
  const exact = [PRINTED_UNITS[chosen]!, ...PRINTED_UNITS].find(
    ([, period]) => Math.floor(period / Math.floor(period / average)) === average,
  );
  const [unit, period] = exact ?? PRINTED_UNITS[chosen]!;
  return `${Math.floor(period / average)}/${unit}`;
}

/** `%.11f`. */
function printProbability(probability: number): string {
  const value = probability / 0x80000000;
  // an odd multiple of 2^-12 lies in the middle of two such numbers: C takes the even one, toFixed() the upper
  const exact = value.toFixed(12);
  const tie = probability % 0x80000 === 0 && /[02468]5$/.test(exact);
  return tie ? exact.slice(0, -1) : value.toFixed(11);
}

export const MATCHES: readonly Extension<Match>[] = [limit, statistic];
