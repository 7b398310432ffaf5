// The diff is exact: in small worlds every packet is asked.

import { test } from "node:test";
import { decode } from "../src/packet/decode.ts";
import { build } from "../src/packet/build.ts";
import type { Ruleset } from "../src/rules/ruleset.ts";
import { checkDiff, decisionsOf, unshared } from "./support/diff-brute.ts";
import type { BrutePacket } from "./support/diff-brute.ts";
import { Draw } from "./support/draw.ts";
import { alone, drawNineBits, upToTwoRules } from "./support/smallworld.ts";

/** Deep runs try more. */
const PAIRS = Number(process.env["VERDICTREE_DIFF_PAIRS"] ?? 300);
const SEED = Number(process.env["VERDICTREE_DIFF_SEED"] ?? 1);

const SRC = 0x0a00_0008;
const NOTHING = new Uint8Array(0);

function packet(src: number, sport: number, dport: number, mark: number): BrutePacket {
  const bytes = build({
    ...{
      src,
      dst: 0x0a00_0001,
      proto: 17,
      sport,
      dport,
      flags: 0,
      seq: 0,
      ack: 0,
      window: 0,
      icmpType: 0,
      icmpCode: 0,
    },
    ...{ icmpId: 0, icmpSeq: 0, inner: undefined, gateway: 0, ttl: 64, tos: 0, df: false, ipId: 1, length: 60 },
    ...{ payload: undefined, tcpOptions: NOTHING, ipOptions: NOTHING, fragment: undefined, badChecksum: false },
  });
  const query = { packet: decode(bytes as Uint8Array), mark, inIface: "eth0", outIface: null, ctState: "NEW" } as const;
  const none = { flags: 0, icmp: 0, tos: 0, ttl: 64, len: 60, connmark: 0, frame: 0, socket: 0, uid: 0, gid: 0 };
  const around = { in: 1, out: 0, src_mac: 1, header: 0, proto: 17, ct_state: 4, src_type: 1, dst_type: 1 };
  return {
    query: { ...query, sourceTranslated: false, destinationTranslated: false },
    point: { ...none, ...around, src, dst: 0x0a00_0001, sport, dport, mark },
  };
}

const TWO_BITS = [0, 1, 2, 3].map((bits) => packet(SRC, 0, bits & 1, bits >> 1));
const NINE_BITS = Array.from({ length: 1024 }, (_, bits) =>
  packet(SRC + (bits & 7), (bits >> 3) & 7, (bits >> 6) & 7, bits >> 9),
);

test("two rule sets of up to two rules over two bits differ where the diff says, and nowhere else", () => {
  const all = [...upToTwoRules()];
  const draw = new Draw(SEED);
  for (let pair = 0; pair < PAIRS; pair++) {
    const [old, other] = [unshared(alone(draw.pick(all))), unshared(alone(draw.pick(all)))];
    const decisions = [old, other].map((each) => decisionsOf(each, "INPUT", TWO_BITS));
    checkDiff([old, other], [decisions[0]!, decisions[1]!], "INPUT", TWO_BITS);
  }
});

test("two rule sets over three fields of three bits differ where the diff says, and nowhere else", () => {
  for (let pair = 0; pair < PAIRS / 4; pair++) {
    const draw = new Draw(SEED * 1_000_000 + pair);
    const old = unshared(drawNineBits(draw));
    const other = draw.chance(0.5) ? unshared(drawNineBits(draw)) : edited(old, draw);
    const decisions = [old, other].map((each) => decisionsOf(each, "INPUT", NINE_BITS));
    checkDiff([old, other], [decisions[0]!, decisions[1]!], "INPUT", NINE_BITS);
  }
});

/** One rule left out, or two rules in each other's place. */
function edited(ruleset: Ruleset, draw: Draw): Ruleset {
  const tables = ruleset.tables.map((table) => {
    const filled = table.chains.filter(({ rules }) => rules.length > 0);
    const chosen = draw.pick(filled);
    const at = draw.below(chosen.rules.length);
    const rules = draw.chance(0.5)
      ? chosen.rules.filter((_, index) => index !== at)
      : [...chosen.rules.slice(at), ...chosen.rules.slice(0, at)];
    return { ...table, chains: table.chains.map((chain) => (chain === chosen ? { ...chain, rules } : chain)) };
  });
  return { ...ruleset, tables };
}
