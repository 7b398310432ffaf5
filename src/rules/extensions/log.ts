// Targets that tell somebody of the packet, and let it go on.
//
// Follows libxt_LOG.c, libxt_NFLOG.c and libxt_TRACE.c of iptables 1.8.9.

import { parseNumber } from "../../net/number.ts";
import { optionsOf, type Extension } from "../extension.ts";
import type { Line } from "../line.ts";
import type { LogTarget, NflogTarget, Target } from "../ruleset.ts";
import { quote, string, truncate, u16, u32 } from "../types.ts";

const LOG: Extension<LogTarget> = {
  name: "LOG",
  options: optionsOf([
    { names: "log-level" },
    { names: "log-prefix" },
    { names: "log-tcp-sequence", args: 0 },
    { names: "log-tcp-options", args: 0 },
    { names: "log-ip-options", args: 0 },
    { names: "log-uid", args: 0 },
    { names: "log-macdecode", args: 0 },
  ]),
  read(given) {
    const { line } = given;
    const level = given.find("log-level");
    const prefix = given.find("log-prefix");
    if (prefix?.argument === "") line.fail("the prefix is empty; leave --log-prefix out", prefix.word);
    return {
      kind: "LOG",
      level: level === undefined ? DEFAULT_LEVEL : readLevel(line, level.word, level.argument),
      prefix: truncate(prefix?.argument ?? "", PREFIX_BYTES),
      tcpSequence: given.has("log-tcp-sequence"),
      tcpOptions: given.has("log-tcp-options"),
      ipOptions: given.has("log-ip-options"),
      uid: given.has("log-uid"),
      macdecode: given.has("log-macdecode"),
    };
  },
  print: printLog,
};

/** struct xt_log_info has 30 bytes for the prefix, the last one zero; iptables cuts without a word. */
const PREFIX_BYTES = 29;

const LOG_LEVELS: ReadonlyMap<string, number> = new Map([
  ["emerg", 0],
  ["panic", 0],
  ["alert", 1],
  ["crit", 2],
  ["error", 3],
  ["warning", 4],
  ["notice", 5],
  ["info", 6],
  ["debug", 7],
]);

/** LOG_WARNING */
export const DEFAULT_LEVEL = 4;

function readLevel(line: Line, word: number, text: string): number {
  const level = parseNumber(text, 7) ?? LOG_LEVELS.get(text);
  return level ?? line.fail(`"${text}" is no level: 0..7, ${[...LOG_LEVELS.keys()].join(", ")}`, word);
}

function printLog(target: LogTarget): string {
  return (
    (target.prefix === "" ? "" : ` --log-prefix ${quote(target.prefix)}`) +
    (target.level === DEFAULT_LEVEL ? "" : ` --log-level ${target.level}`) +
    (target.tcpSequence ? " --log-tcp-sequence" : "") +
    (target.tcpOptions ? " --log-tcp-options" : "") +
    (target.ipOptions ? " --log-ip-options" : "") +
    (target.uid ? " --log-uid" : "") +
    (target.macdecode ? " --log-macdecode" : "")
  );
}

/** struct xt_nflog_info has 64 bytes for the prefix, the last one zero. */
const NFLOG_PREFIX_BYTES = 63;
const nflogPrefix = string(Number.POSITIVE_INFINITY, 1);

const NFLOG: Extension<NflogTarget> = {
  name: "NFLOG",
  options: optionsOf([
    { names: "nflog-group" },
    { names: "nflog-prefix" },
    { names: "nflog-range", excludes: "nflog-size" },
    { names: "nflog-size", excludes: "nflog-range" },
    { names: "nflog-threshold" },
  ]),
  read: (given) => ({
    kind: "NFLOG",
    group: given.get("nflog-group", u16) ?? 0,
    prefix: truncate(given.get("nflog-prefix", nflogPrefix) ?? "", NFLOG_PREFIX_BYTES),
    size: given.get("nflog-size", u32) ?? null,
    oldSize: given.get("nflog-range", u32) ?? null,
    threshold: given.get("nflog-threshold", u16) ?? 1,
  }),
  print: ({ group, prefix, size, oldSize, threshold }) =>
    (prefix === "" ? "" : ` --nflog-prefix ${quote(prefix)}`) +
    (group === 0 ? "" : ` --nflog-group ${group}`) +
    (size === null ? "" : ` --nflog-size ${size}`) +
    (oldSize === null || oldSize === 0 ? "" : ` --nflog-range ${oldSize}`) +
    (threshold === 1 ? "" : ` --nflog-threshold ${threshold}`),
};

const TRACE: Extension<Target> = {
  name: "TRACE",
  tables: ["raw"],
  options: optionsOf([]),
  read: () => ({ kind: "TRACE" }),
  print: () => "",
};

export const TARGETS: readonly Extension<Target>[] = [LOG, NFLOG, TRACE];
