// What only ip6tables has: matches on ICMPv6 and on extension headers, and three targets. Parsed and printed.
//
// Follows the libip6t_ files of iptables 1.8.9.

import { formatAddress6, parseAddress6, prefixLength6 } from "../../net/address6.ts";
import { parseNumber } from "../../net/number.ts";
import { parseProtocol } from "../../net/protocol.ts";
import type { Extension, Given } from "../extension.ts";
import { opaqueMatch, opaqueTarget } from "../opaque.ts";
import type { Match, Range, Target } from "../ruleset.ts";
import { hostMask, integer, printRange, rangeOf, u16, u32, U32_MAX, u8, U8_MAX, type Value } from "../types.ts";

const PROTO_ICMPV6 = 58;
const PROTO_MH = 135;

/** Names of types, and of types with a code. */
const ICMP6_TYPES: readonly (readonly [string, string])[] = [
  ["destination-unreachable", "1"],
  ["no-route", "1/0"],
  ["communication-prohibited", "1/1"],
  ["beyond-scope", "1/2"],
  ["address-unreachable", "1/3"],
  ["port-unreachable", "1/4"],
  ["failed-policy", "1/5"],
  ["reject-route", "1/6"],
  ["packet-too-big", "2"],
  ["time-exceeded", "3"],
  ["ttl-exceeded", "3"],
  ["ttl-zero-during-transit", "3/0"],
  ["ttl-zero-during-reassembly", "3/1"],
  ["parameter-problem", "4"],
  ["bad-header", "4/0"],
  ["unknown-header-type", "4/1"],
  ["unknown-option", "4/2"],
  ["echo-request", "128"],
  ["ping", "128"],
  ["echo-reply", "129"],
  ["pong", "129"],
  ["mld-listener-query", "130"],
  ["mld-listener-report", "131"],
  ["mld-listener-done", "132"],
  ["mld-listener-reduction", "132"],
  ["router-solicitation", "133"],
  ["router-advertisement", "134"],
  ["neighbour-solicitation", "135"],
  ["neighbor-solicitation", "135"],
  ["neighbour-advertisement", "136"],
  ["neighbor-advertisement", "136"],
  ["redirect", "137"],
];

const icmp6Type: Value<string> = {
  read(line, word, text) {
    const wanted = text.toLowerCase();
    const named = ICMP6_TYPES.filter(([name]) => name.startsWith(wanted));
    const values = new Set(named.map(([, value]) => value));
    const exact = named.find(([name]) => name === wanted);
    if (exact !== undefined) return exact[1];
    if (named.length > 1) return line.fail(`"${text}" may be ${named.map(([name]) => name).join(" or ")}`, word);
    if (values.size === 1) return named[0]![1];
    const [type = "", code] = text.split("/");
    const numbers = [parseNumber(type, U8_MAX), code === undefined ? -1 : parseNumber(code, U8_MAX)];
    if (numbers.includes(null))
      return line.failPart(`"${text}" is no ICMPv6 type: a name, TYPE or TYPE/CODE`, word, text);
    return code === undefined ? String(numbers[0]) : `${numbers[0]}/${numbers[1]}`;
  },
  print: (value) => value,
};

const icmp6 = opaqueMatch({
  name: "icmp6",
  family: 6,
  protos: [PROTO_ICMPV6],
  options: [{ names: "icmpv6-type", negatable: true, required: true, value: icmp6Type }],
});

const HL_FORMS = "hl-eq hl-lt hl-gt";
const hl = opaqueMatch({
  name: "hl",
  family: 6,
  options: [
    { names: "hl-eq hl", negatable: true, value: u8, excludes: HL_FORMS },
    { names: "hl-lt", value: u8, excludes: HL_FORMS },
    { names: "hl-gt", value: u8, excludes: HL_FORMS },
  ],
  check: (given) => {
    needsSome(given, "hl needs --hl-eq, --hl-lt or --hl-gt");
  },
});

function needsSome(given: Given, reason: string): void {
  if (given.settings.length === 0) given.fail(reason);
}

const eui64 = opaqueMatch({ name: "eui64", family: 6, hooks: ["PREROUTING", "INPUT", "FORWARD"] });

const everything: Value<Range> = { ...rangeOf(U32_MAX), idle: `0:${U32_MAX}` };

const frag = opaqueMatch({
  name: "frag",
  family: 6,
  options: [
    { names: "fragid", negatable: true, value: everything },
    { names: "fraglen", negatable: true, value: u32 },
    { names: "fragres", args: 0 },
    { names: "fragfirst", args: 0 },
    { names: "fragmore", args: 0, excludes: "fraglast" },
    { names: "fraglast", args: 0, excludes: "fragmore" },
  ],
});

/** `5:12,200`: kinds of options, perhaps with lengths. */
const optionList: Value<string> = {
  read(line, word, text) {
    const items = text.split(",").map((item) => {
      const [kind = "", length] = item.split(":");
      const numbers = [parseNumber(kind, U8_MAX), length === undefined ? 0 : parseNumber(length, U8_MAX)];
      if (numbers.includes(null)) line.failPart(`"${item}" is no option: KIND or KIND:LENGTH`, word, item);
      return length === undefined || numbers[1] === U8_MAX ? String(numbers[0]) : `${numbers[0]}:${numbers[1]}`;
    });
    if (items.length > 16) line.fail("16 options at most", word);
    return items.join(",");
  },
  print: (list) => list,
};

const [hbh, dst] = ["hbh", "dst"].map((name) =>
  opaqueMatch({
    name,
    family: 6,
    options: [
      { names: `${name}-len`, negatable: true, value: u32 },
      { names: `${name}-opts`, value: optionList },
    ],
  }),
);

const addressList: Value<string> = {
  read(line, word, text) {
    const items = text.split(",").map((item) => {
      const address = parseAddress6(item);
      return address === null ? line.failPart(`"${item}" is no IPv6 address`, word, item) : formatAddress6(address);
    });
    if (items.length > 16) line.fail("16 addresses at most", word);
    return items.join(",");
  },
  print: (list) => list,
};

const rt = opaqueMatch({
  name: "rt",
  family: 6,
  options: [
    { names: "rt-type", negatable: true, value: u32 },
    { names: "rt-segsleft", negatable: true, value: everything },
    { names: "rt-len", negatable: true, value: u32 },
    { names: "rt-0-res", args: 0, needs: "rt-type" },
    { names: "rt-0-addrs", value: addressList, needs: "rt-type" },
    { names: "rt-0-not-strict", args: 0, needs: "rt-0-addrs" },
  ],
  check(given) {
    const type0 = given.get("rt-type", u32) === 0 && !given.negated("rt-type");
    for (const key of ["rt-0-res", "rt-0-addrs"]) {
      if (given.has(key) && !type0) given.fail(`--${key} needs --rt-type 0 in front of it`, key);
    }
  },
});

const MH_TYPES = ["brr", "hoti", "coti", "hot", "cot", "bu", "ba", "be"];
const MH_LONG = [
  ...["binding-refresh-request", "home-test-init", "careof-test-init", "home-test", "careof-test"],
  ...["binding-update", "binding-acknowledgement", "binding-error"],
];

const mhTypes: Value<Range> = {
  read(line, word, text) {
    const type = (part: string): number => {
      const wanted = part.toLowerCase();
      const named = [MH_TYPES, MH_LONG].map((names) => names.findIndex((name) => name.startsWith(wanted)));
      const value = parseNumber(part, U8_MAX) ?? named.find((index) => index >= 0);
      return value ?? line.failPart(`"${part}" is no type of a mobility header`, word, part);
    };
    const [first = "", last, more] = text.split(":");
    if (more !== undefined) line.fail(`"${text}" is no type and no range LO:HI`, word);
    const lo = first === "" && last !== undefined ? 0 : type(first);
    const hi = last === undefined ? lo : last === "" ? U8_MAX : type(last);
    if (lo > hi) line.fail(`the range ${text} is empty`, word);
    return { lo, hi };
  },
  print: ({ lo, hi }) => printRange({ lo, hi }, ":"),
  idle: `0:${U8_MAX}`,
};

const mh = opaqueMatch({
  name: "mh",
  family: 6,
  protos: [PROTO_MH],
  options: [{ names: "mh-type", negatable: true, value: mhTypes }],
});

/** Headers in the order in which they are printed, with the names that are read. */
const HEADERS: readonly (readonly [string, string])[] = [
  ["hop-by-hop", "hop-by-hop hop 0"],
  ["ipv6-opts", "dst 60"],
  ["ipv6-route", "route 43"],
  ["ipv6-frag", "frag 44"],
  ["ah", "auth 51"],
  ["esp", "esp 50"],
  ["ipv6-nonxt", "none 59"],
  ["protocol", "protocol prot 255"],
];

const headers: Value<readonly string[]> = {
  read(line, word, text) {
    const said = text
      .split(",")
      .filter((item) => item !== "")
      .map((item) => {
        const proto = parseProtocol(item);
        const found = HEADERS.find(([name, others]) => {
          const names = others.split(" ");
          return name === item.toLowerCase() || names.includes(item.toLowerCase()) || names.includes(String(proto));
        });
        return (
          found?.[0] ?? line.failPart(`"${item}" is no header: ${HEADERS.map(([name]) => name).join(", ")}`, word, item)
        );
      });
    if (said.length === 0) line.fail("no header is named", word);
    return HEADERS.map(([name]) => name).filter((name) => said.includes(name));
  },
  print: (names) => names.join(","),
};

const ipv6header = opaqueMatch({
  name: "ipv6header",
  family: 6,
  options: [
    { names: "header", negatable: true, required: true, value: headers },
    { names: "soft", args: 0 },
  ],
});

const srh = opaqueMatch({
  name: "srh",
  family: 6,
  options: [
    { names: "srh-next-hdr", negatable: true, value: u8 },
    ...["hdr-len", "segs-left", "last-entry"].flatMap((name) =>
      ["eq", "gt", "lt"].map((op) => ({ names: `srh-${name}-${op}`, negatable: true, value: u8 })),
    ),
    { names: "srh-tag", negatable: true, value: u16 },
    ...["psid", "nsid", "lsid"].map((name) => ({
      names: `srh-${name}`,
      negatable: true,
      value: { ...hostMask, print: printPrefix },
    })),
  ],
});

/** With its length, even if it is 128. */
function printPrefix({ address, mask }: { address: number | bigint; mask: number | bigint }): string {
  return `${formatAddress6(BigInt(address))}/${prefixLength6(BigInt(mask)) ?? 0}`;
}

const HL_TARGET_FORMS = "hl-set hl-dec hl-inc";
const HL = opaqueTarget({
  name: "HL",
  family: 6,
  tables: ["mangle"],
  options: [
    { names: "hl-set", value: u8, excludes: HL_TARGET_FORMS },
    { names: "hl-dec", value: integer(U8_MAX, 1), excludes: HL_TARGET_FORMS },
    { names: "hl-inc", value: integer(U8_MAX, 1), excludes: HL_TARGET_FORMS },
  ],
  check: (given) => {
    needsSome(given, "HL needs --hl-set, --hl-dec or --hl-inc");
  },
});

const prefix = { ...hostMask, print: printPrefix };
const [SNPT, DNPT] = (
  [
    ["SNPT", ["INPUT", "POSTROUTING"]],
    ["DNPT", ["PREROUTING", "OUTPUT"]],
  ] as const
).map(([name, hooks]) =>
  opaqueTarget({
    name,
    family: 6,
    tables: ["mangle"],
    hooks,
    options: [
      { names: "src-pfx", required: true, value: prefix },
      { names: "dst-pfx", required: true, value: prefix },
    ],
  }),
);

export const MATCHES: readonly Extension<Match>[] = [icmp6, hl, eui64, frag, hbh!, dst!, rt, mh, ipv6header, srh];
export const TARGETS: readonly Extension<Target>[] = [HL, SNPT!, DNPT!];
