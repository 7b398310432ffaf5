// Matches on what has been before, and on the clock: recent, hashlimit, quota, time, rateest.
//
// Follows libxt_recent.c, libxt_hashlimit.c, libxt_quota.c, libxt_time.c and libxt_rateest.c of iptables 1.8.9, and what
// the kernel refuses of them (recent_mt_check() in net/netfilter/xt_recent.c).

import { formatAddress } from "../../net/address.ts";
import { hashBucketOf } from "../../net/limit.ts";
import { optionsOf, type Extension, type Given, type OptionForm } from "../extension.ts";
import { opaqueMatch, printedExtension } from "../opaque.ts";
import {
  ALL_MONTHDAYS,
  ALL_WEEKDAYS,
  LAST_DATE,
  LAST_DAYTIME,
  type HashlimitMatch,
  type Match,
  type QuotaMatch,
  type RecentMatch,
  type TimeMatch,
} from "../ruleset.ts";
import { host, integer, mask as maskValue, not, string, u32, U32_MAX, u64, type Value } from "../types.ts";

// recent

const RECENT_OPERATIONS = "set rcheck update remove";
/** XT_RECENT_MAX_NSTAMPS less one. */
const MOST_HITS = 65535;
const NAME_BYTES = 199;

const recent: Extension<Match> = {
  name: "recent",
  options: optionsOf([
    ...RECENT_OPERATIONS.split(" ").map((names): OptionForm => ({
      names,
      args: 0,
      negatable: true,
      excludes: RECENT_OPERATIONS,
    })),
    { names: "seconds" },
    { names: "reap", args: 0, needs: "seconds" },
    { names: "hitcount" },
    { names: "rttl", args: 0, excludes: "set remove" },
    { names: "name" },
    { names: "rsource", args: 0 },
    { names: "rdest", args: 0 },
    { names: "mask" },
  ]),
  read(given) {
    const op = given.settings.find(({ key }) => RECENT_OPERATIONS.split(" ").includes(key));
    if (op === undefined) return given.fail("recent needs --set, --rcheck, --update or --remove");
    const seconds = given.get("seconds", integer(U32_MAX, 1)) ?? 0;
    const hitcount = given.get("hitcount", integer(MOST_HITS)) ?? 0;
    if ((op.key === "set" || op.key === "remove") && (seconds > 0 || hitcount > 0)) {
      given.fail(`--seconds and --hitcount do not go with --${op.key}`, seconds > 0 ? "seconds" : "hitcount");
    }
    const name = given.get("name", string()) ?? "DEFAULT";
    if (name === "" || name === "." || name === ".." || name.includes("/")) {
      given.fail(`"${name}" is no name of a list: it is one of a file, without /`, "name");
    }
    const sides = given.settings.filter(({ key }) => key === "rsource" || key === "rdest");
    const match = {
      op: op.key as RecentMatch["op"],
      negated: op.negated,
      seconds,
      reap: given.has("reap"),
      hitcount,
      rttl: given.has("rttl"),
      name: name.slice(0, NAME_BYTES),
      side: sides.at(-1)?.key === "rdest" ? "dst" : "src",
    } as const;
    const mask = given.get("mask", host);
    if (given.family === 6) {
      const all = maskValue.read(given.line, given.word, "128", 6);
      return { kind: "opaque", name: "recent", options: printRecent(match, host.print(mask ?? all, 6)) };
    }
    return { kind: "recent", ...match, mask: Number(mask ?? U32_MAX) };
  },
  print: (match) => (match.kind === "recent" ? printRecent(match, formatAddress(match.mask)) : ""),
};

function printRecent(match: Omit<RecentMatch, "kind" | "mask">, mask: string): string {
  return (
    `${not(match)} --${match.op}` +
    (match.seconds === 0 ? "" : ` --seconds ${match.seconds}`) +
    (match.reap ? " --reap" : "") +
    (match.hitcount === 0 ? "" : ` --hitcount ${match.hitcount}`) +
    (match.rttl ? " --rttl" : "") +
    ` --name ${match.name} --mask ${mask} --r${match.side === "src" ? "source" : "dest"}`
  );
}

// quota, time

const quota: Extension<QuotaMatch> = {
  name: "quota",
  options: optionsOf([{ names: "quota", negatable: true, required: true }]),
  read: (given) => ({ kind: "quota", quota: given.get("quota", u64)!, negated: given.negated("quota") }),
  print: (match) => `${not(match)} --quota ${match.quota}`,
};

const WEEK = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const time: Extension<TimeMatch> = {
  name: "time",
  options: optionsOf([
    { names: "datestart" },
    { names: "datestop" },
    { names: "timestart" },
    { names: "timestop" },
    { names: "contiguous", args: 0 },
    { names: "weekdays", negatable: true },
    { names: "monthdays", negatable: true },
    { names: "localtz", args: 0, excludes: "utc" },
    { names: "utc", args: 0, excludes: "localtz kerneltz" },
    { names: "kerneltz", args: 0, excludes: "utc" },
  ]),
  read(given) {
    const days = (key: string, all: number, value: Value<number>): number => {
      const said = given.get(key, value);
      return said === undefined ? all : given.negated(key) ? said ^ all : said;
    };
    const match: TimeMatch = {
      kind: "time",
      dateStart: given.get("datestart", date) ?? 0,
      dateStop: given.get("datestop", date) ?? LAST_DATE,
      dayStart: given.get("timestart", daytime) ?? 0,
      dayStop: given.get("timestop", daytime) ?? LAST_DAYTIME,
      monthdays: days("monthdays", ALL_MONTHDAYS, monthdays) >>> 0,
      weekdays: days("weekdays", ALL_WEEKDAYS, weekdays),
      localZone: given.has("kerneltz") || given.has("localtz"),
      contiguous: given.has("contiguous"),
    };
    if (match.contiguous && match.dayStart < match.dayStop) {
      given.fail("--contiguous makes sense only where --timestop is earlier than --timestart", "contiguous");
    }
    return match;
  },
  print(match) {
    const { dayStart, dayStop, dateStart, dateStop } = match;
    const bits = (mask: number, last: number): number[] =>
      Array.from({ length: last }, (_, i) => i + 1).filter((day) => (mask >>> day) & 1);
    return (
      (dayStart === 0 && dayStop === LAST_DAYTIME
        ? ""
        : ` --timestart ${daytime.print(dayStart, 4)} --timestop ${daytime.print(dayStop, 4)}`) +
      (match.monthdays === ALL_MONTHDAYS ? "" : ` --monthdays ${bits(match.monthdays, 31).join(",")}`) +
      (match.weekdays === ALL_WEEKDAYS
        ? ""
        : ` --weekdays ${bits(match.weekdays, 7)
            .map((day) => WEEK[day - 1]!)
            .join(",")}`) +
      (dateStart === 0 ? "" : ` --datestart ${date.print(dateStart, 4)}`) +
      // always: the last date is not what time_print_date() of iptables takes for none where a long has 64 bits
      ` --datestop ${date.print(dateStop, 4)}` +
      (match.localZone ? " --kerneltz" : "") +
      (match.contiguous ? " --contiguous" : "")
    );
  },
};

/** `YYYY[-MM[-DD[Thh[:mm[:ss]]]]]`, in seconds since 1970. */
const date: Value<number> = {
  read(line, word, text) {
    const parts = /^(\d+)(?:-(\d+)(?:-(\d+)(?:T(\d+)(?::(\d+)(?::(\d+))?)?)?)?)?$/.exec(text);
    const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = (parts ?? [])
      .slice(1)
      .map((part: string | undefined) => (part === undefined ? undefined : Number(part)));
    const fits = year >= 1970 && year <= 2038 && month <= 12 && day <= 31 && hour <= 23 && minute <= 59 && second <= 59;
    if (parts === null || !fits) line.fail(`"${text}" is no date: YYYY[-MM[-DD[Thh[:mm[:ss]]]]], 1970 to 2038`, word);
    return Math.floor(Date.UTC(year, month - 1, day, hour, minute, second) / 1000);
  },
  print: (seconds) => new Date(seconds * 1000).toISOString().slice(0, 19),
};

/** `hh:mm[:ss]`, in seconds. */
const daytime: Value<number> = {
  read(line, word, text) {
    const [, hour, minute, second = "0"] = /^(\d+):(\d+)(?::(\d+))?$/.exec(text) ?? [];
    if (hour === undefined || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) {
      line.fail(`"${text}" is no time of day: hh:mm[:ss]`, word);
    }
    return Number(hour) * 3600 + Number(minute) * 60 + Number(second);
  },
  print: (seconds) =>
    [seconds / 3600, (seconds / 60) % 60, seconds % 60]
      .map((part) => String(Math.floor(part)).padStart(2, "0"))
      .join(":"),
};

const monthdays: Value<number> = {
  read(line, word, text) {
    return text.split(",").reduce((mask, day) => {
      if (!/^\d+$/.test(day) || Number(day) > 31) line.failPart(`"${day}" is no day of a month`, word, day);
      return mask | (1 << Number(day));
    }, 0);
  },
  print: String,
};

const weekdays: Value<number> = {
  read(line, word, text) {
    return text.split(",").reduce((mask, day) => {
      const index = /^[1-7]$/.test(day)
        ? Number(day) - 1
        : WEEK.findIndex((name) => name.slice(0, 2) === day.slice(0, 2));
      if (index < 0) line.failPart(`"${day}" is no day of the week: ${WEEK.join(", ")} or 1 to 7`, word, day);
      return mask | (2 << index);
    }, 0);
  },
  print: String,
};

// hashlimit

const HASHLIMIT_MODES: HashlimitMatch["by"] = ["srcip", "srcport", "dstip", "dstport"];
/** What packets are counted in: a millionth of a second. */
const SCALE = 1_000_000;
const RATE_UNITS = [
  ["second", 1],
  ["minute", 60],
  ["hour", 3600],
  ["day", 86400],
] as const;
const PRINTED_UNITS = [
  ["day", 86400 * SCALE],
  ["hour", 3600 * SCALE],
  ["min", 60 * SCALE],
  ["sec", SCALE],
] as const;
const BYTE_UNITS = [
  ["m", 1024 * 1024],
  ["k", 1024],
  ["", 1],
] as const;
const BYTES_EXPIRE = 15;
const BYTES_BURST_EXPIRE = 60;
const MOST_BURST = 1_000_000;
const GC_INTERVAL = 1000;
const DEFAULT_BURST = 5;

interface Rate {
  /** Time between two packets in millionths of a second, or the kernel's cost of 16 bytes. */
  readonly cost: number;
  readonly bytes: boolean;
  /** Seconds of the unit said. */
  readonly unit: number;
}

const rate: Value<Rate> = {
  read(line, word, text) {
    const [, amount, factor] = /^(\d+)([mk]?)b\/s/.exec(text) ?? [];
    if (amount !== undefined) {
      const bytes = Number(amount) * (factor === "m" ? 1024 * 1024 : factor === "k" ? 1024 : 1);
      const cost = costOf(bytes);
      if (bytes === 0 || cost === 0) line.fail(`the rate ${text} is too high or none`, word);
      return { cost, bytes: true, unit: BYTES_EXPIRE };
    }
    const [, count = "", slash, unit = ""] = /^(\d+)(\/(.*))?$/.exec(text) ?? [];
    const seconds =
      slash === undefined ? 1 : RATE_UNITS.find(([name]) => unit !== "" && name.startsWith(unit.toLowerCase()))?.[1];
    const packets = Number(count);
    if (count === "" || seconds === undefined || packets === 0) {
      return line.fail(`"${text}" is no rate: NUMBER/second, minute, hour or day, or NUMBER[k|m]b/s`, word);
    }
    const cost = Math.floor((SCALE * seconds) / packets);
    if (cost === 0) line.fail(`the rate ${text} is too fast`, word);
    return { cost, bytes: false, unit: seconds };
  },
  print: String,
};

function costOf(bytes: number): number {
  return Math.floor(U32_MAX / (Math.floor(bytes / 16) + 1));
}

function bytesOf(cost: number): number {
  return (Math.floor(U32_MAX / cost) - 1) * 16;
}

function readHashlimit(options: string, given: Given): HashlimitMatch {
  const upto = given.get("hashlimit-upto", rate);
  const above = given.get("hashlimit-above", rate);
  const said = upto ?? above ?? given.fail("hashlimit needs --hashlimit-upto or --hashlimit-above");
  const inverted = given.negated("hashlimit-upto") || given.negated("hashlimit-above");
  const rateMatch = given.has("hashlimit-rate-match");
  const interval = given.get("hashlimit-rate-interval", integer(0x7fffffff, 1)) ?? 0;
  const all = given.family === 6 ? 128 : 32;
  const mask = (key: string): number => given.get(`hashlimit-${key}`, integer(all)) ?? all;
  const number = (key: string, without: number): number => given.get(`hashlimit-htable-${key}`, u32) ?? without;
  const burst = readBurst(given);
  if (said.bytes && burst !== null && bytesOf(said.cost) === 0) {
    given.fail("iptables divides by zero for a burst at less than 16b/s", "hashlimit-burst");
  }
  return {
    kind: "hashlimit",
    options,
    name: given.get("hashlimit-name", hashlimitName)!,
    above: (above !== undefined) !== inverted,
    by: readModes(given),
    srcMask: mask("srcmask"),
    dstMask: mask("dstmask"),
    bytes: said.bytes,
    rateMatch,
    average: rateMatch && !said.bytes ? Math.floor(said.cost / said.unit) : said.cost,
    burst: said.bytes ? (burst === null ? 0 : Math.ceil(burst / bytesOf(said.cost))) : (burst ?? DEFAULT_BURST),
    interval: rateMatch && interval === 0 ? (said.bytes ? 1 : said.unit) : interval,
    size: number("size", 0),
    max: number("max", 0),
    expire: number("expire", said.bytes && burst !== null ? BYTES_BURST_EXPIRE * 1000 : said.unit * 1000),
    gcInterval: number("gcinterval", GC_INTERVAL),
  };
}

/** hashlimit_mt_check_common() in net/netfilter/xt_hashlimit.c. */
function checkHashlimit({ average, burst, bytes, rateMatch, expire, gcInterval }: HashlimitMatch, given: Given): void {
  if (expire === 0) given.fail("the kernel refuses entries that expire at once", "hashlimit-htable-expire");
  if (gcInterval === 0) given.fail("the kernel refuses an interval of 0", "hashlimit-htable-gcinterval");
  if (rateMatch) {
    if (average === 0 || average > U32_MAX) given.fail("the kernel refuses this rate: it is too high or too low");
  } else if (!bytes) {
    const { cost, cap } = hashBucketOf(average, burst);
    if (cap < cost) {
      given.fail("the kernel refuses this limit: so many tokens at so slow a rate overflow its counter");
    }
  }
}

function printHashlimit(given: Given): string {
  const match = readHashlimit("", given);
  checkHashlimit(match, given);
  const said = given.get("hashlimit-upto", rate) ?? given.get("hashlimit-above", rate)!;
  const cost = said.bytes ? said.cost : match.average;
  const { text, quantum } = said.bytes ? printBytes(given, cost) : printPackets(given, cost);
  const all = given.family === 6 ? 128 : 32;
  const mask = (key: string, length: number): string => (length === all ? "" : ` --hashlimit-${key} ${length}`);
  const number = (key: string, value: number, without: number): string =>
    value === without ? "" : ` --hashlimit-htable-${key} ${value}`;
  return (
    ` --hashlimit-${match.above ? "above" : "upto"}${text}` +
    (match.by.length === 0 ? "" : ` --hashlimit-mode ${match.by.join(",")}`) +
    ` --hashlimit-name ${given.need("hashlimit-name").argument}` +
    number("size", match.size, 0) +
    number("max", match.max, 0) +
    number("gcinterval", match.gcInterval, GC_INTERVAL) +
    number("expire", match.expire, quantum) +
    mask("srcmask", match.srcMask) +
    mask("dstmask", match.dstMask) +
    (match.rateMatch
      ? ` --hashlimit-rate-match${match.interval === 1 ? "" : ` --hashlimit-rate-interval ${match.interval}`}`
      : "")
  );
}

function readModes(given: Given): HashlimitMatch["by"] {
  const setting = given.find("hashlimit-mode");
  if (setting === undefined) return [];
  const said = setting.argument.split(/[,|]/).filter((mode) => mode !== "");
  const unknown = said.find((mode) => !HASHLIMIT_MODES.some((known) => known === mode));
  if (unknown !== undefined) given.fail(`"${unknown}" is no mode: ${HASHLIMIT_MODES.join(", ")}`, "hashlimit-mode");
  return HASHLIMIT_MODES.filter((mode) => said.includes(mode));
}

interface Printed {
  readonly text: string;
  /** Milliseconds of expiry that need no saying. */
  readonly quantum: number;
}

function printPackets(given: Given, cost: number): Printed {
  const burst = readBurst(given) ?? DEFAULT_BURST;
  if (burst > MOST_BURST) given.fail(`a burst of ${MOST_BURST} packets at most`, "hashlimit-burst");
  let chosen = 0;
  for (let i = 1; i < PRINTED_UNITS.length; i++) {
    const period = PRINTED_UNITS[i]![1];
    if (cost > period || Math.floor(period / cost) < period % cost) break;
    chosen = i;
  }
  const [name, period] = PRINTED_UNITS[chosen]!;
  const text = ` ${Math.floor(period / cost)}/${name} --hashlimit-burst ${burst}`;
  return { text, quantum: (period / SCALE) * 1000 };
}

function printBytes(given: Given, cost: number): Printed {
  const rateBytes = bytesOf(cost);
  const unit = BYTE_UNITS.find(
    ([, size]) => size === 1 || (rateBytes >= size && costOf(rateBytes - (rateBytes % size)) === cost),
  )!;
  const text = ` ${Math.floor(rateBytes / unit[1])}${unit[0]}b/s`;
  const burst = readBurst(given);
  if (burst === null) return { text, quantum: BYTES_EXPIRE * 1000 };
  if (burst < rateBytes) given.fail(`the burst cannot be smaller than ${rateBytes}b`, "hashlimit-burst");
  const total = rateBytes * Math.ceil(burst / rateBytes);
  const [name, size] = BYTE_UNITS.find(([, least]) => total >= least || least === 1)!;
  return {
    text: `${text} --hashlimit-burst ${Math.floor(total / size)}${name}b`,
    quantum: BYTES_BURST_EXPIRE * 1000,
  };
}

function readBurst(given: Given): number | null {
  const setting = given.find("hashlimit-burst");
  if (setting === undefined) return null;
  const [, count, factor] = /^(\d+)([mk]?)b?$/.exec(setting.argument) ?? [];
  if (count === undefined || Number(count) === 0)
    return given.fail("a burst is a number of packets, or NUMBER[k|m]b", "hashlimit-burst");
  return Number(count) * (factor === "m" ? 1024 * 1024 : factor === "k" ? 1024 : 1);
}

const hashlimitName = string(Number.POSITIVE_INFINITY, 1);

const hashlimit = printedExtension<HashlimitMatch>(
  {
    name: "hashlimit",
    options: [
      { names: "hashlimit-upto hashlimit", negatable: true, excludes: "hashlimit-above" },
      { names: "hashlimit-above", negatable: true, excludes: "hashlimit-upto" },
      ...["srcmask", "dstmask", "burst", "htable-size", "htable-max", "htable-gcinterval", "htable-expire", "mode"].map(
        (name) => ({ names: `hashlimit-${name}` }),
      ),
      { names: "hashlimit-name", required: true, value: hashlimitName },
      { names: "hashlimit-rate-match", args: 0 },
      { names: "hashlimit-rate-interval" },
    ],
    print: printHashlimit,
  },
  readHashlimit,
);

// rateest

const COMPARISONS = ["rateest-lt", "rateest-gt", "rateest-eq"];
const ESTIMATES = ["rateest-bps1", "rateest-pps1", "rateest-bps2", "rateest-pps2"];

const BIT_SUFFIXES: ReadonlyMap<string, number> = new Map([
  ["bit", 1],
  ["kibit", 1024],
  ["kbit", 1000],
  ["mibit", 1024 ** 2],
  ["mbit", 1000 ** 2],
  ["gibit", 1024 ** 3],
  ["gbit", 1000 ** 3],
  ["bps", 8],
  ["kibps", 8 * 1024],
  ["kbps", 8000],
  ["mibps", 8 * 1024 ** 2],
  ["mbps", 8 * 1000 ** 2],
]);

const rateest = opaqueMatch({
  name: "rateest",
  options: [
    { names: "rateest1 rateest" },
    { names: "rateest2" },
    ...ESTIMATES.map((key) => ({
      names: key.endsWith("2") ? `${key} ${key.slice(0, -1)}` : key,
      args: 0 as const,
      optional: true,
    })),
    { names: "rateest-delta", args: 0 },
    ...COMPARISONS.map((names): OptionForm => ({ names, args: 0, negatable: true, excludes: COMPARISONS.join(" ") })),
  ],
  print(given) {
    const op = given.settings.find(({ key }) => COMPARISONS.includes(key));
    if (!given.has("rateest1") || op === undefined)
      return given.fail("rateest needs --rateest and a comparison, --rateest-lt, -gt or -eq");
    const amount = (key: string): string => {
      const { argument = "" } = given.find(key) ?? {};
      if (key.includes("pps")) return argument === "" ? " 0" : ` ${given.get(key, u32)!}`;
      const [, number, suffix] = /^(\d+(?:\.\d+)?)(\w*)$/.exec(argument === "" ? "0" : argument) ?? [];
      const scale = suffix === "" ? 1 : BIT_SUFFIXES.get((suffix ?? "").toLowerCase());
      if (number === undefined || scale === undefined) return given.fail(`"${argument}" is no rate`, key);
      return ` ${Math.floor((Number(number) * scale) / 8) * 8}bit`;
    };
    const relative = given.has("rateest2");
    const delta = given.has("rateest-delta");
    const rates = ["bps", "pps"].map((unit) => {
      if (!given.has(`rateest-${unit}1`) && !given.has(`rateest-${unit}2`)) return "";
      const compares = `${not(op)} --${op.key}`;
      if (delta)
        return ` --rateest-${unit}1${amount(`rateest-${unit}1`)}${compares} --rateest-${unit}2${amount(`rateest-${unit}2`)}`;
      return `${compares} --rateest-${unit}${relative ? "" : amount(`rateest-${unit}2`)}`;
    });
    const first = given.need("rateest1").argument;
    return (
      (delta ? " --rateest-delta" : "") +
      ` --rateest${relative ? "1" : ""} ${first}${rates.join("")}` +
      (relative ? ` --rateest2 ${given.need("rateest2").argument}` : "")
    );
  },
});

export const MATCHES: readonly Extension<Match>[] = [recent, quota, time, hashlimit, rateest];
