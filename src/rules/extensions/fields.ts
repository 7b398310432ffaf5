// Matches on single facts of a packet: fields of its header, its frame, its sender, its devices.
//
// Follows libxt_length.c, libipt_ttl.c, libxt_tos.c, libxt_dscp.c, libxt_ecn.c, libxt_tcpmss.c, libxt_pkttype.c,
// libxt_mac.c, libxt_owner.c, libipt_realm.c and libxt_devgroup.c of iptables 1.8.9.
// Differs: of users, groups, realms and device groups only those names are known that every Debian has.

import { PROTO_TCP } from "../../net/protocol.ts";
import { groupId, userId } from "../../net/user.ts";
import { optionsOf, type Extension, type Given, type Setting } from "../extension.ts";
import type {
  DevgroupMatch,
  DscpMatch,
  EcnMatch,
  LengthMatch,
  MacMatch,
  Match,
  OwnerMatch,
  PkttypeMatch,
  Range,
  RealmMatch,
  TcpmssMatch,
  TosMatch,
  TtlMatch,
} from "../ruleset.ts";
import {
  DSCP_MAX,
  dscpClass,
  hex,
  hexByte,
  integer,
  mac as macValue,
  mark,
  not,
  oneOf,
  printRange,
  printTest,
  rangeOf,
  tos as tosValue,
  U16_MAX,
  U32_MAX,
  u8,
  type Value,
} from "../types.ts";

const u16Range = rangeOf(U16_MAX);

const length: Extension<LengthMatch> = {
  name: "length",
  options: optionsOf([{ names: "length", negatable: true, required: true }]),
  read: (given) => ({ kind: "length", ...given.test("length", u16Range)! }),
  print: (match) => printTest("length", match, (range) => printRange(range, ":")),
};

const TTL_FORMS = "ttl-eq ttl-lt ttl-gt";

const ttl: Extension<TtlMatch> = {
  name: "ttl",
  family: 4,
  options: optionsOf([
    { names: "ttl-eq ttl", negatable: true, excludes: TTL_FORMS },
    { names: "ttl-lt", excludes: TTL_FORMS },
    { names: "ttl-gt", excludes: TTL_FORMS },
  ]),
  read(given) {
    const [setting] = given.settings;
    if (setting === undefined) return given.fail("ttl needs --ttl-eq, --ttl-lt or --ttl-gt");
    const op = setting.key.slice(-2) as TtlMatch["op"];
    return { kind: "ttl", op, ttl: given.get(setting.key, u8)!, negated: setting.negated };
  },
  print: (match) => `${not(match)} --ttl-${match.op} ${match.ttl}`,
};

const tos: Extension<TosMatch> = {
  name: "tos",
  options: optionsOf([{ names: "tos", negatable: true, required: true }]),
  read: (given) => ({ kind: "tos", ...given.test("tos", tosValue)! }),
  print: (match) => printTest("tos", match, (test) => tosValue.print(test, 4)),
};

const dscpValue = integer(DSCP_MAX);

const dscp: Extension<DscpMatch> = {
  name: "dscp",
  options: optionsOf([
    { names: "dscp", negatable: true, excludes: "dscp-class" },
    { names: "dscp-class", negatable: true, excludes: "dscp" },
  ]),
  read: (given) => ({
    kind: "dscp",
    dscp: given.get("dscp", dscpValue) ?? given.get("dscp-class", dscpClass) ?? given.fail("dscp needs --dscp"),
    negated: given.negated("dscp") || given.negated("dscp-class"),
  }),
  print: (match) => printTest("dscp", match, (test) => hexByte(test.dscp)),
};

const ectValue = integer(3);

const ecn: Extension<EcnMatch> = {
  name: "ecn",
  options: optionsOf([
    { names: "ecn-tcp-cwr", args: 0, negatable: true },
    { names: "ecn-tcp-ece", args: 0, negatable: true },
    { names: "ecn-ip-ect", negatable: true },
  ]),
  read(given) {
    if (given.settings.length === 0) given.fail("ecn needs --ecn-tcp-cwr, --ecn-tcp-ece or --ecn-ip-ect");
    const asked = (key: string): EcnMatch["cwr"] => (given.has(key) ? { negated: given.negated(key) } : null);
    const ect = given.get("ecn-ip-ect", ectValue);
    return {
      kind: "ecn",
      cwr: asked("ecn-tcp-cwr"),
      ece: asked("ecn-tcp-ece"),
      ect: ect === undefined ? null : { ect, negated: given.negated("ecn-ip-ect") },
    };
  },
  print: ({ ece, cwr, ect }) =>
    (ece === null ? "" : `${not(ece)} --ecn-tcp-ece`) +
    (cwr === null ? "" : `${not(cwr)} --ecn-tcp-cwr`) +
    printTest("ecn-ip-ect", ect, (test) => String(test.ect)),
  // ecn_mt_check4(): the bits of TCP need its protocol
  protosOf: ({ ece, cwr }) => (ece === null && cwr === null ? null : [PROTO_TCP]),
};

const tcpmss: Extension<TcpmssMatch> = {
  name: "tcpmss",
  protos: [PROTO_TCP],
  options: optionsOf([{ names: "mss", negatable: true, required: true }]),
  read: (given) => ({ kind: "tcpmss", ...given.test("mss", u16Range)! }),
  print: (match) => printTest("mss", match, (range) => printRange(range, ":")),
};

/** With the other names that are read. */
const PACKET_TYPES = ["unicast", "broadcast", "multicast", "otherhost"] as const;
const packetType = oneOf([...PACKET_TYPES, "bcast", "mcast", "host"], true);
const PLAIN_TYPES: Readonly<Partial<Record<string, PkttypeMatch["type"]>>> = {
  bcast: "broadcast",
  mcast: "multicast",
  host: "unicast",
};

const pkttype: Extension<PkttypeMatch> = {
  name: "pkttype",
  options: optionsOf([{ names: "pkt-type", negatable: true, required: true }]),
  read(given) {
    const said = given.get("pkt-type", packetType)!;
    const type = PLAIN_TYPES[said] ?? (said as PkttypeMatch["type"]);
    return { kind: "pkttype", type, negated: given.negated("pkt-type") };
  },
  print: (match) => printTest("pkt-type", match, ({ type }) => type),
};

const mac: Extension<MacMatch> = {
  name: "mac",
  hooks: () => ["PREROUTING", "INPUT", "FORWARD"],
  options: optionsOf([{ names: "mac-source", negatable: true, required: true }]),
  read: (given) => ({
    kind: "mac",
    mac: given.get("mac-source", macValue)!,
    negated: given.negated("mac-source"),
  }),
  print: (match) => printTest("mac-source", match, (test) => macValue.print(test.mac, 4)),
};

/** A name, or `ID`, `LO-HI`, `LO:HI`. */
function owners(idOf: (name: string) => number | null, what: string): Value<Range> {
  return {
    read(line, word, text, family) {
      const named = idOf(text);
      if (named !== null) return { lo: named, hi: named };
      const [, first = text, last = first] = /^(\w+)[-:](\w+)$/.exec(text) ?? [];
      if (!/^\w+$/.test(first) || /^[A-Za-z_]/.test(first)) {
        line.fail(
          `"${text}" is no ${what}: a number or a range; names other than Debian's own are not known here`,
          word,
        );
      }
      const range = { lo: id.read(line, word, first, family), hi: id.read(line, word, last, family) };
      if (range.lo > range.hi) line.fail(`the range ${text} is empty`, word);
      return range;
    },
    print: (range) => printRange(range, "-"),
  };
}

const id = integer(U32_MAX - 1);
const users = owners(userId, "user");
const groups = owners(groupId, "group");

const owner: Extension<OwnerMatch> = {
  name: "owner",
  hooks: () => ["OUTPUT", "POSTROUTING"],
  options: optionsOf([
    { names: "uid-owner", negatable: true },
    { names: "gid-owner", negatable: true },
    { names: "socket-exists", args: 0, negatable: true },
    { names: "suppl-groups", args: 0 },
  ]),
  read(given) {
    if (given.settings.length === 0) given.fail("owner needs --uid-owner, --gid-owner or --socket-exists");
    const place = (key: string): number => given.settings.findIndex((setting: Setting) => setting.key === key);
    const supplGroups = given.has("suppl-groups");
    if (supplGroups && (!given.has("gid-owner") || place("gid-owner") > place("suppl-groups"))) {
      given.fail("--suppl-groups needs --gid-owner in front of it", "suppl-groups");
    }
    return {
      kind: "owner",
      socketExists: given.has("socket-exists") ? { negated: given.negated("socket-exists") } : null,
      uid: given.test("uid-owner", users),
      gid: given.test("gid-owner", groups),
      supplGroups,
    };
  },
  print: ({ socketExists, uid, gid, supplGroups }) =>
    (socketExists === null ? "" : `${not(socketExists)} --socket-exists`) +
    printTest("uid-owner", uid, (range) => printRange(range, "-")) +
    printTest("gid-owner", gid, (range) => printRange(range, "-")) +
    (supplGroups ? " --suppl-groups" : ""),
};

/** A name of /etc/iproute2, as it comes with iproute2. */
function named(given: Given, key: string, names: ReadonlyMap<string, number>): { value: number; mask: number } {
  const setting = given.need(key);
  const value = names.get(setting.argument);
  return value === undefined ? given.get(key, mark)! : { value, mask: U32_MAX };
}

function printNamed(name: string | undefined, test: { value: number; mask: number }): string {
  return test.mask === U32_MAX && name !== undefined ? name : mark.print(test, 4);
}

const REALMS: ReadonlyMap<string, number> = new Map([["cosmos", 0]]);

const realm: Extension<RealmMatch> = {
  name: "realm",
  family: 4,
  hooks: () => ["INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  options: optionsOf([{ names: "realm", negatable: true, required: true }]),
  read: (given) => ({ kind: "realm", ...named(given, "realm", REALMS), negated: given.negated("realm") }),
  print: (match) => printTest("realm", match, (test) => printNamed(test.value === 0 ? "cosmos" : undefined, test)),
};

const GROUPS: ReadonlyMap<string, number> = new Map([["default", 0]]);

const devgroup: Extension<DevgroupMatch> = {
  name: "devgroup",
  options: optionsOf([
    { names: "src-group", negatable: true },
    { names: "dst-group", negatable: true },
  ]),
  read(given) {
    if (given.settings.length === 0) given.fail("devgroup needs --src-group or --dst-group");
    const test = (key: string): DevgroupMatch["src"] =>
      given.has(key) ? { ...named(given, key, GROUPS), negated: given.negated(key) } : null;
    return { kind: "devgroup", src: test("src-group"), dst: test("dst-group") };
  },
  print: ({ src, dst }) => printTest("src-group", src, printGroup) + printTest("dst-group", dst, printGroup),
  // devgroup_mt_checkentry()
  hooks({ src, dst }) {
    const inward = ["PREROUTING", "INPUT", "FORWARD"] as const;
    const outward = ["FORWARD", "OUTPUT", "POSTROUTING"] as const;
    return src === null ? outward : dst === null ? inward : ["FORWARD"];
  },
};

function printGroup(test: { value: number; mask: number }): string {
  const name = test.value === 0 ? "default" : undefined;
  return test.mask === U32_MAX && name === undefined ? hex(test.value) : printNamed(name, test);
}

export const MATCHES: readonly Extension<Match>[] = [
  ...[length, ttl, tos, dscp, ecn, tcpmss, pkttype, mac, owner, realm, devgroup],
];
