// Matches on the packet's connection, and the targets that change what is kept of it.
//
// Follows libxt_conntrack.c, libxt_connmark.c, libxt_connbytes.c, libxt_connlimit.c, libxt_CONNMARK.c and libxt_CT.c of
// iptables 1.8.9.
// Differs: `--ctproto 0`, which never matches, is refused; `--connbytes 0:0` is printed, not `--connbytes 0`, which
// would be read back as `0:`.

import { optionsOf, type Extension, type Given, type OptionForm } from "../extension.ts";
import {
  CONNBYTES_END,
  CT_STATES,
  CT_STATUSES,
  type ConnbytesMatch,
  type ConnlimitMatch,
  type ConnmarkMatch,
  type ConnmarkTarget,
  type ConntrackAddress,
  type ConntrackMatch,
  type CtStateName,
  type CtTarget,
  type Match,
  type StateMatch,
  type Target,
} from "../ruleset.ts";
import {
  hex,
  hostMask,
  integer,
  mark,
  mask,
  not,
  oneOf,
  portRange,
  printRange,
  printTest,
  protocol,
  rangeOf,
  string,
  u16,
  u32,
  U32_MAX,
  U64_MAX,
} from "../types.ts";
import { prefixLength } from "../../net/address.ts";
import { prefixLength6 } from "../../net/address6.ts";
import { parseNumber64 } from "../../net/number.ts";
import { readNames } from "../values.ts";

// conntrack, state

const ADDRESSES = [
  ["ctorigsrc", "origSrc"],
  ["ctorigdst", "origDst"],
  ["ctreplsrc", "replSrc"],
  ["ctrepldst", "replDst"],
] as const;

const PORTS = [
  ["ctorigsrcport", "origSrcPort"],
  ["ctorigdstport", "origDstPort"],
  ["ctreplsrcport", "replSrcPort"],
  ["ctrepldstport", "replDstPort"],
] as const;

const seconds = rangeOf(U32_MAX);
const direction = oneOf(["ORIGINAL", "REPLY"], true);

const conntrack: Extension<Match> = {
  name: "conntrack",
  options: optionsOf([
    ...[
      "ctstate",
      "ctproto",
      ...ADDRESSES.map(([key]) => key),
      ...PORTS.map(([key]) => key),
      "ctstatus",
      "ctexpire",
    ].map((names): OptionForm => ({ names, negatable: true })),
    { names: "ctdir" },
  ]),
  read(given) {
    if (given.settings.length === 0) given.fail("conntrack needs one of its options, --ctstate or another");
    const proto = given.get("ctproto", protocol);
    if (proto === 0) given.fail("--ctproto 0 never matches", "ctproto");
    const names = <T extends string>(key: string, all: readonly T[], what: string): readonly T[] | null => {
      const setting = given.find(key);
      return setting === undefined ? null : readNames(given.line, setting.word, setting.argument, all, what);
    };
    const states = names("ctstate", CT_STATES, "connection state");
    const statuses = names("ctstatus", ["NONE", ...CT_STATUSES], "status of a connection");
    const match: ConntrackMatch = {
      kind: "conntrack",
      state: states && { states, negated: given.negated("ctstate") },
      proto: proto === undefined ? null : { proto, negated: given.negated("ctproto") },
      origSrc: null,
      origDst: null,
      replSrc: null,
      replDst: null,
      origSrcPort: given.test("ctorigsrcport", portRange),
      origDstPort: given.test("ctorigdstport", portRange),
      replSrcPort: given.test("ctreplsrcport", portRange),
      replDstPort: given.test("ctrepldstport", portRange),
      status: statuses && { statuses: statuses.filter((name) => name !== "NONE"), negated: given.negated("ctstatus") },
      expire: given.test("ctexpire", seconds),
      dir: given.get("ctdir", direction) ?? null,
    };
    const addresses = ADDRESSES.flatMap(([key, field]) => {
      const test = given.test(key, hostMask);
      return test === null ? [] : [{ key, field, ...test }];
    });
    if (given.family === 4) {
      const tests = addresses.map(({ field, address, mask, negated }): [string, ConntrackAddress] => {
        const written = Number(address);
        return [field, { address: (written & Number(mask)) >>> 0, mask: Number(mask), negated, written }];
      });
      return { ...match, ...Object.fromEntries(tests) };
    }
    const printed = addresses.map(({ key, address, mask, negated }) =>
      printTest(key, { address, mask, negated }, (test) => hostMask.print(test, 6)),
    );
    return { kind: "opaque", name: "conntrack", options: printConntrack(match, printed.join("")) };
  },
  print: (match) => (match.kind === "conntrack" ? printConntrack(match, printAddresses(match)) : ""),
};

function printAddresses(match: ConntrackMatch): string {
  return ADDRESSES.map(([key, field]) =>
    printTest(key, match[field], ({ written, mask }) => hostMask.print({ address: written, mask }, 4)),
  ).join("");
}

function printConntrack(match: ConntrackMatch, addresses: string): string {
  return (
    printTest("ctstate", match.state, ({ states }) => states.join(",")) +
    printTest("ctproto", match.proto, ({ proto }) => String(proto)) +
    addresses +
    PORTS.map(([key, field]) => printTest(key, match[field], (ports) => printRange(ports, ":"))).join("") +
    printTest("ctstatus", match.status, ({ statuses }) => statuses.join(",") || "NONE") +
    printTest("ctexpire", match.expire, (range) => printRange(range, ":")) +
    (match.dir === null ? "" : ` --ctdir ${match.dir}`)
  );
}

/** The states that `-m state` takes. */
const PLAIN_STATES: readonly CtStateName[] = CT_STATES.filter((state) => state !== "SNAT" && state !== "DNAT");

const state: Extension<StateMatch> = {
  name: "state",
  options: optionsOf([{ names: "state", negatable: true, required: true }]),
  read(given) {
    const { word, argument, negated } = given.need("state");
    return { kind: "state", states: readNames(given.line, word, argument, PLAIN_STATES, "connection state"), negated };
  },
  print: (match) => `${not(match)} --state ${match.states.join(",")}`,
};

// connmark, connbytes, connlimit

const connmark: Extension<ConnmarkMatch> = {
  name: "connmark",
  options: optionsOf([{ names: "mark", negatable: true, required: true }]),
  read: (given) => ({ kind: "connmark", ...given.test("mark", mark)! }),
  print: (match) => `${not(match)} --mark ${mark.print(match, 4)}`,
};

const connbytesMode = oneOf(["packets", "bytes", "avgpkt"]);
const connbytesDir = oneOf(["original", "reply", "both"]);

const connbytes: Extension<ConnbytesMatch> = {
  name: "connbytes",
  options: optionsOf([
    { names: "connbytes", negatable: true, required: true },
    { names: "connbytes-dir", required: true },
    { names: "connbytes-mode", required: true },
  ]),
  read(given) {
    const { argument, negated } = given.need("connbytes");
    const [first = "", last, more] = argument.split(":");
    const lo = first === "" && last !== undefined ? 0n : parseNumber64(first);
    const hi = last === undefined || last === "" ? U64_MAX : parseNumber64(last);
    if (lo === null || hi === null || more !== undefined) {
      return given.fail(`"${argument}" is no number and no range LO:HI of 64 bits`, "connbytes");
    }
    if (lo > hi) given.fail(`the range ${argument} is empty`, "connbytes");
    return {
      kind: "connbytes",
      lo,
      hi,
      // iptables swaps the ends for a negation, which does nothing to equal ones
      negated: negated && lo !== hi,
      mode: given.get("connbytes-mode", connbytesMode)!,
      dir: given.get("connbytes-dir", connbytesDir)!,
    };
  },
  print(match) {
    const { lo, hi, mode, dir } = match;
    return `${not(match)} --connbytes ${lo}${hi === CONNBYTES_END ? "" : `:${hi}`} --connbytes-mode ${mode} --connbytes-dir ${dir}`;
  },
};

const connlimit: Extension<ConnlimitMatch> = {
  name: "connlimit",
  options: optionsOf([
    { names: "connlimit-upto", negatable: true, excludes: "connlimit-above" },
    { names: "connlimit-above", negatable: true, excludes: "connlimit-upto" },
    { names: "connlimit-mask" },
    { names: "connlimit-saddr", args: 0, excludes: "connlimit-daddr" },
    { names: "connlimit-daddr", args: 0, excludes: "connlimit-saddr" },
  ]),
  read(given) {
    const upto = given.get("connlimit-upto", u32);
    const above = given.get("connlimit-above", u32);
    const limit = upto ?? above ?? given.fail("connlimit needs --connlimit-above or --connlimit-upto");
    const negated = given.negated("connlimit-upto") || given.negated("connlimit-above");
    return {
      kind: "connlimit",
      limit,
      above: (above !== undefined) !== negated,
      prefixLength: readPrefixLength(given),
      of: given.has("connlimit-daddr") ? "daddr" : "saddr",
    };
  },
  print: ({ limit, above, prefixLength, of }) =>
    ` --connlimit-${above ? "above" : "upto"} ${limit} --connlimit-mask ${prefixLength} --connlimit-${of}`,
};

function readPrefixLength(given: Given): number {
  const network = given.get("connlimit-mask", mask);
  if (network === undefined) return given.family === 6 ? 128 : 32;
  const length = typeof network === "bigint" ? prefixLength6(network) : prefixLength(network);
  return length ?? given.fail("the ones of the mask must stand together", "connlimit-mask");
}

// CONNMARK

const OPERATIONS = "set-xmark set-mark and-mark or-mark xor-mark save-mark restore-mark";
const shift = integer(32);

const CONNMARK: Extension<ConnmarkTarget> = {
  name: "CONNMARK",
  options: optionsOf([
    { names: "set-xmark", excludes: OPERATIONS },
    { names: "set-mark", excludes: OPERATIONS },
    { names: "and-mark", excludes: OPERATIONS },
    { names: "or-mark", excludes: OPERATIONS },
    { names: "xor-mark", excludes: OPERATIONS },
    { names: "save-mark", args: 0, excludes: OPERATIONS },
    { names: "restore-mark", args: 0, excludes: OPERATIONS },
    { names: "left-shift-mark" },
    { names: "right-shift-mark" },
    { names: "ctmask", excludes: "mask" },
    { names: "nfmask", excludes: "mask" },
    { names: "mask", excludes: "ctmask nfmask" },
  ]),
  read(given) {
    const { line, family } = given;
    let op: ConnmarkTarget["op"] | null = null;
    let value = 0;
    let ctmask = U32_MAX;
    let nfmask = U32_MAX;
    let shifted: ConnmarkTarget["shift"] = { dir: "left", bits: 0 };
    // one option may undo what another said, by the order in which they stand
    for (const { key, word, argument } of given.settings) {
      const number = (): number => u32.read(line, word, argument, family);
      switch (key) {
        case "set-xmark":
        case "set-mark": {
          const set = mark.read(line, word, argument, family);
          op = "set";
          value = set.value;
          ctmask = key === "set-mark" ? (set.value | set.mask) >>> 0 : set.mask;
          break;
        }
        case "and-mark":
          op = "set";
          value = 0;
          ctmask = ~number() >>> 0;
          break;
        case "or-mark":
        case "xor-mark":
          op = "set";
          value = number();
          ctmask = key === "or-mark" ? value : 0;
          break;
        case "save-mark":
        case "restore-mark":
          op = key === "save-mark" ? "save" : "restore";
          break;
        case "ctmask":
          ctmask = number();
          break;
        case "nfmask":
          nfmask = number();
          break;
        case "mask":
          ctmask = nfmask = number();
          break;
        default:
          shifted = {
            dir: key === "left-shift-mark" ? "left" : "right",
            bits: shift.read(line, word, argument, family),
          };
      }
    }
    if (op === null) return given.fail("CONNMARK needs an operation: --set-xmark, --save-mark, --restore-mark, ...");
    if (op === "set") return { kind: "CONNMARK", op, value, mask: ctmask, shift: shifted };
    return { kind: "CONNMARK", op, nfmask, ctmask, shift: shifted };
  },
  print(target) {
    const done =
      target.op === "set"
        ? ` --set-xmark ${hex(target.value)}/${hex(target.mask)}`
        : ` --${target.op}-mark --nfmask ${hex(target.nfmask)} --ctmask ${hex(target.ctmask)}`;
    const { dir, bits } = target.shift;
    return bits === 0 ? done : `${done} --${dir}-shift-mark ${bits}`;
  },
};

// CT, NOTRACK

const EVENTS = [
  "new",
  "related",
  "destroy",
  "reply",
  "assured",
  "protoinfo",
  "helper",
  "mark",
  "natseqinfo",
  "secmark",
];
/** NF_CT_HELPER_NAME_LEN and CTNL_TIMEOUT_NAME_MAX, less the NUL. */
const helperName = string(15);
const timeoutName = string(31);

const CT: Extension<CtTarget> = {
  name: "CT",
  tables: ["raw"],
  options: optionsOf([
    { names: "notrack", args: 0 },
    { names: "helper" },
    { names: "timeout" },
    { names: "ctevents" },
    { names: "expevents" },
    { names: "zone-orig" },
    { names: "zone-reply" },
    { names: "zone" },
  ]),
  read: (given) => ({
    kind: "CT",
    notrack: given.has("notrack"),
    zone: readZone(given),
    helper: given.get("helper", helperName) ?? null,
    timeout: given.get("timeout", timeoutName) ?? null,
    events: readEvents(given, "ctevents", EVENTS),
    expEvents: readEvents(given, "expevents", ["new"]),
  }),
  print({ notrack, zone, helper, timeout, events, expEvents }) {
    const side = zone === null || zone.dir === "both" ? "" : zone.dir === "ORIGINAL" ? "-orig" : "-reply";
    return (
      (notrack ? " --notrack" : "") +
      (helper === null ? "" : ` --helper ${helper}`) +
      (timeout === null ? "" : ` --timeout ${timeout}`) +
      (events.length === 0 ? "" : ` --ctevents ${events.join(",")}`) +
      (expEvents.length === 0 ? "" : ` --expevents ${expEvents.join(",")}`) +
      (zone === null || zone.id === 0 ? "" : ` --zone${side} ${zone.id}`)
    );
  },
};

/** The last one said; its direction is that of all that were said. */
function readZone({ settings, line, family }: Given): CtTarget["zone"] {
  const zones = settings.filter(({ key }) => key.startsWith("zone"));
  const last = zones.at(-1);
  if (last === undefined) return null;
  const id = last.argument.toLowerCase() === "mark" ? "mark" : u16.read(line, last.word, last.argument, family);
  const orig = zones.some(({ key }) => key === "zone-orig");
  const reply = zones.some(({ key }) => key === "zone-reply");
  return { id, dir: orig === reply ? "both" : orig ? "ORIGINAL" : "REPLY" };
}

function readEvents(given: Given, key: string, names: readonly string[]): readonly string[] {
  const setting = given.find(key);
  if (setting === undefined) return [];
  const said = setting.argument.split(",");
  const unknown = said.find((name) => !names.includes(name));
  if (unknown !== undefined)
    given.line.failPart(`"${unknown}" is no event: ${names.join(", ")}`, setting.word, unknown);
  return names.filter((name) => said.includes(name));
}

const NOTRACK: Extension<Target> = {
  name: "NOTRACK",
  tables: ["raw"],
  options: optionsOf([]),
  read: () => ({ kind: "NOTRACK" }),
  print: () => "",
};

export const MATCHES: readonly Extension<Match>[] = [conntrack, state, connmark, connbytes, connlimit];
export const TARGETS: readonly Extension<Target>[] = [CONNMARK, CT, NOTRACK];
