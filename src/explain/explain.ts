// One packet -> its whole way: every chain, every rule that was asked and why it did not hold, what NAT made of it.
//
// The reference walks, and is watched; nothing is decided here. Rules that did not hold are told with the part that
// failed: the first of their header test, in the kernel's order (ip_packet_match()), or the match where they stopped.

import type { RuleRef, Trace } from "../classifier.ts";
import type { Outcome } from "../classifier.ts";
import type { Host } from "../host/host.ts";
import type { Arrival, Packet } from "../packet/packet.ts";
import { holds } from "../reference/match.ts";
import type { Holds, Watch, World } from "../reference/match.ts";
import { Reference } from "../reference/reference.ts";
import type { Skb } from "../reference/skb.ts";
import { printMatch, printRule } from "../rules/print.ts";
import type { Chain, Header, Rule, Ruleset, TableName } from "../rules/ruleset.ts";

export interface ExplainOptions {
  /** Which iptables has loaded the rules. legacy. */
  readonly backend?: "legacy" | "nft";
  /** Packets that came before, from which connections are known. */
  readonly before?: readonly Arrival[];
  /** Of what is drawn by lot. 0. */
  readonly seed?: number;
}

export interface Explanation {
  /** Chains in the order in which packets came into them. */
  readonly chains: readonly ChainVisit[];
  readonly outcome: Outcome;
  readonly trace: Trace;
  /** No packet came before: there are no connections but its own. */
  readonly first: boolean;
}

/** A packet in one built-in chain. */
export interface ChainVisit {
  readonly table: TableName;
  readonly chain: string;
  /** That the chain has. */
  readonly rules: number;
  /** false: a packet that the host made. */
  readonly own: boolean;
  /** As it came in. */
  readonly seen: Seen;
  readonly steps: readonly Step[];
  readonly end: { readonly ref: RuleRef; readonly target: string };
}

/** What rules could ask of the packet at a moment. */
export interface Seen {
  readonly packet: Packet;
  readonly mark: number;
  readonly inIface: string | null;
  readonly outIface: string | null;
  readonly ctState: Skb["ctState"];
}

/** A rule that was asked, or the end of a user chain. */
export interface Step {
  readonly ref: RuleRef;
  readonly kind: "matched" | "failed" | "dropped" | "end";
  /** Of a rule that did not hold the part that failed, as iptables prints it; else empty. */
  readonly failed: string;
  readonly seen: Seen;
}

/** Throws UnsupportedError and RuleError for what the reference does not model. */
export function explainPacket(
  ruleset: Ruleset,
  host: Host,
  arrival: Arrival,
  options: ExplainOptions = {},
): Explanation {
  const watcher = new Watcher();
  const reference = new Reference(ruleset, host, {
    ...{ stateless: false, backend: options.backend ?? "legacy", seed: options.seed ?? 0, watch: watcher },
    limitErrors: true,
  });
  const { before = [] } = options;
  for (const each of before) reference.run(each);
  watcher.forget();
  const { outcome, trace } = reference.run(arrival);
  return { chains: watcher.visits, outcome, trace, first: before.length === 0 };
}

/** The steps of all chains at which the rule was asked, and why it was not reached if there are none. */
export interface WhyNot {
  readonly asked: readonly Step[];
  /** Of the chain's other rules: what ended the way, or led elsewhere, before it. */
  readonly instead: readonly Step[];
}

/** Why a rule did not match. */
export function whyNot({ chains }: Explanation, ref: RuleRef): WhyNot {
  const steps = chains.filter(({ own, table }) => own && table === ref.table).flatMap((visit) => visit.steps);
  const asked = steps.filter(({ ref: { chain, number } }) => chain === ref.chain && number === ref.number);
  if (asked.length > 0) return { asked, instead: [] };
  const inChain = steps.filter(({ ref: { chain }, kind }) => chain === ref.chain && kind !== "end");
  const last = inChain.findLast(({ kind }) => kind === "matched" || kind === "dropped");
  return { asked, instead: last === undefined ? steps.filter(({ kind }) => kind === "matched") : [last] };
}

class Watcher implements Watch {
  visits: {
    table: TableName;
    chain: string;
    rules: number;
    own: boolean;
    seen: Seen;
    steps: Step[];
    end: { ref: RuleRef; target: string };
  }[] = [];
  #own: Skb["log"];

  forget(): void {
    this.visits = [];
    this.#own = undefined;
  }

  enters(table: TableName, { name: chain, rules }: Chain, skb: Readonly<Skb>): void {
    this.#own ??= skb.log;
    const end = { ref: { table, chain, number: "policy" as const }, target: "" };
    this.visits.push({
      table,
      chain,
      rules: rules.length,
      own: skb.log === this.#own,
      seen: seenOf(skb),
      steps: [],
      end,
    });
  }

  asks(ref: RuleRef, rule: Rule, skb: Readonly<Skb>, result: Holds, at: number): void {
    const kind = result === "drop" ? "dropped" : result ? "matched" : "failed";
    const failed = result === true ? "" : partOf(rule, at, skb);
    this.visits.at(-1)!.steps.push({ ref, kind, failed, seen: seenOf(skb) });
  }

  falls(ref: RuleRef, skb: Readonly<Skb>): void {
    this.visits.at(-1)!.steps.push({ ref, kind: "end", failed: "", seen: seenOf(skb) });
  }

  ends(ref: RuleRef, target: string): void {
    this.visits.at(-1)!.end = { ref, target };
  }
}

function seenOf({ packet, mark, inIface, outIface, ctState }: Readonly<Skb>): Seen {
  return { packet, mark, inIface, outIface, ctState };
}

/** The part of a rule that did not hold, as iptables prints it. */
function partOf(rule: Rule, at: number, skb: Readonly<Skb>): string {
  if (at >= 0) return printMatch(rule.matches[at]!, 4).trim();
  const nothing: Header = {
    src: null,
    dst: null,
    inIface: null,
    outIface: null,
    v6: null,
    proto: null,
    fragment: null,
  };
  const parts = (["src", "dst", "inIface", "outIface", "proto", "fragment"] as const).filter(
    (name) => rule.header[name] !== null,
  );
  const one = (name: (typeof parts)[number]): Rule => ({
    ...rule,
    header: { ...nothing, [name]: rule.header[name] },
    matches: [],
    target: null,
  });
  // the header is asked for fields alone: the world is not looked at
  const failing = parts.find((name) => holds(one(name), skb, NO_WORLD) === false)!;
  return printRule("", one(failing)).replace("-A  ", "");
}

const NO_WORLD = new Proxy({} as World, {
  get(): never {
    throw new Error("a header test asks nothing of the world");
  },
});
