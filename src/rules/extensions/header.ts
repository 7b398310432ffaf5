// Matches on addresses and on the packet's mark.
//
// Follows libxt_addrtype.c, libxt_mark.c and libxt_iprange.c of iptables 1.8.9.

import { formatAddress } from "../../net/address.ts";
import { formatAddress6, parseAddress6 } from "../../net/address6.ts";
import { optionsOf, type Extension } from "../extension.ts";
import { opaqueMatch } from "../opaque.ts";
import {
  ADDRESS_TYPES,
  type AddrtypeMatch,
  type CommentMatch,
  type Hook,
  type IprangeMatch,
  type MarkMatch,
  type Match,
  type Range,
} from "../ruleset.ts";
import { mark as markValue, not, printTest, quote, truncate, type Value } from "../types.ts";
import { readAddressRange, readNames } from "../values.ts";

const addrtype: Extension<AddrtypeMatch> = {
  name: "addrtype",
  options: optionsOf([
    { names: "src-type", negatable: true },
    { names: "dst-type", negatable: true },
    { names: "limit-iface-in", args: 0 },
    { names: "limit-iface-out", args: 0 },
  ]),
  read(given) {
    const { line } = given;
    const [src, dst] = ["src-type", "dst-type"].map((key) => {
      const setting = given.find(key);
      if (setting === undefined) return null;
      const types = readNames(line, setting.word, setting.argument, ADDRESS_TYPES, "address type");
      return { types, negated: setting.negated };
    });
    if (!src && !dst) given.fail("addrtype needs --src-type or --dst-type");
    const limitIn = given.find("limit-iface-in");
    const limitOut = given.find("limit-iface-out");
    if (limitIn && limitOut) {
      line.fail("--limit-iface-in and --limit-iface-out cannot stand together", Math.max(limitIn.word, limitOut.word));
    }
    return {
      kind: "addrtype",
      srcTypes: src ?? null,
      dstTypes: dst ?? null,
      limitIface: limitIn ? "in" : limitOut ? "out" : null,
    };
  },
  print: ({ srcTypes, dstTypes, limitIface }) =>
    printTest("src-type", srcTypes, ({ types }) => types.join(",")) +
    printTest("dst-type", dstTypes, ({ types }) => types.join(",")) +
    (limitIface === null ? "" : ` --limit-iface-${limitIface}`),
  // addrtype_mt_checkentry_v1(): only where there is such an interface
  hooks: ({ limitIface }) => (limitIface === null ? null : WITH_INTERFACE[limitIface]),
};

const WITH_INTERFACE: Readonly<Record<"in" | "out", readonly Hook[]>> = {
  in: ["PREROUTING", "INPUT", "FORWARD"],
  out: ["FORWARD", "OUTPUT", "POSTROUTING"],
};

const mark: Extension<MarkMatch> = {
  name: "mark",
  options: optionsOf([{ names: "mark", negatable: true, required: true }]),
  read: (given) => ({ kind: "mark", ...given.test("mark", markValue)! }),
  print: (match) => `${not(match)} --mark ${markValue.print(match, 4)}`,
};

const iprange: Extension<IprangeMatch> = {
  name: "iprange",
  options: optionsOf([
    { names: "src-range", negatable: true },
    { names: "dst-range", negatable: true },
  ]),
  family: 4,
  read(given) {
    if (given.settings.length === 0) given.fail("iprange needs --src-range or --dst-range");
    const [src, dst] = ["src-range", "dst-range"].map((key) => {
      const setting = given.find(key);
      if (setting === undefined) return null;
      return { ...readAddressRange(given.line, setting.word, setting.argument), negated: setting.negated };
    });
    return { kind: "iprange", src: src ?? null, dst: dst ?? null };
  },
  print: ({ src, dst }) => printTest("src-range", src, printAddresses) + printTest("dst-range", dst, printAddresses),
};

interface Range6 {
  readonly lo: bigint;
  readonly hi: bigint;
}

const range6: Value<Range6> = {
  read(line, word, text) {
    const [first = "", last = first, more] = text.split("-");
    const [lo, hi] = [parseAddress6(first), parseAddress6(last)];
    if (lo === null || hi === null || more !== undefined) {
      return line.fail(`"${text}" is no range of IPv6 addresses LO-HI`, word);
    }
    if (lo > hi) line.fail("the range is empty", word);
    return { lo, hi };
  },
  print: ({ lo, hi }) => `${formatAddress6(lo)}-${formatAddress6(hi)}`,
};

const iprange6 = opaqueMatch({
  name: "iprange",
  family: 6,
  options: [
    { names: "src-range", negatable: true, value: range6 },
    { names: "dst-range", negatable: true, value: range6 },
  ],
  check(given) {
    if (given.settings.length === 0) given.fail("iprange needs --src-range or --dst-range");
  },
});

function printAddresses({ lo, hi }: Range): string {
  return `${formatAddress(lo)}-${formatAddress(hi)}`;
}

/** XT_MAX_COMMENT_LEN less the NUL. */
const COMMENT_BYTES = 255;

const comment: Extension<CommentMatch> = {
  name: "comment",
  options: optionsOf([{ names: "comment", required: true }]),
  read: (given) => ({ kind: "comment", comment: truncate(given.need("comment").argument, COMMENT_BYTES) }),
  print: (match) => ` --comment ${quote(match.comment)}`,
};

export const MATCHES: readonly Extension<Match>[] = [addrtype, mark, iprange, iprange6, comment];
