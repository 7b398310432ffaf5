// What a comparison knows of matches that no field of a packet tells: which of them are one fact, and which are free.
//
// A function of packet, connection or clock alone is one fact wherever its text is the same. What remembers or draws lots
// is a fact of its own at every place where a packet may meet it: two equal `limit` rules are two buckets. Places are named
// by the rules on the way there, and rules of two rule sets that correspond have one name, so that their facts are shared.

import { nameOfMatch } from "../rules/names.ts";
import { printMatch } from "../rules/print.ts";
import { rulesOf } from "../rules/ruleset.ts";
import type { Chain, Match, Rule, Ruleset } from "../rules/ruleset.ts";
import type { Diagram, Node } from "./diagram.ts";
import { FIRST_GUARD_BIT } from "./space.ts";

export interface Guard {
  readonly match: Match;
  /** As printed, without `-m`. */
  readonly text: string;
  /** Which of several facts of the match; mostly empty. */
  readonly part: string;
  /** The chance that it holds, of `statistic`; null: nobody knows. */
  readonly chance: number | null;
  /** Where it is met: the numbers of the rules on the way, each with a / in front; null: it is one fact everywhere. */
  readonly place: string | null;
  /** Of the match in its rule. */
  readonly index: number;
}

/** Asks packet, connection or clock, and changes nothing. Everything else may remember. */
const LOOKING: ReadonlySet<string> = new Set([
  "addrtype",
  "ah",
  "bpf",
  "cgroup",
  "cluster",
  "connbytes",
  "connlabel",
  "conntrack",
  "cpu",
  "dccp",
  "esp",
  "helper",
  "ipcomp",
  "ipvs",
  "osf",
  "owner",
  "policy",
  "rpfilter",
  "sctp",
  "set",
  "socket",
  "string",
  "tcp",
  "tcpmss",
  "time",
  "u32",
]);

/** Matches that are fields whole. */
const FIELD_MATCHES: ReadonlySet<string> = new Set([
  "assumed",
  "comment",
  "udp",
  "icmp",
  "multiport",
  "state",
  "mark",
  "connmark",
  "iprange",
  "length",
  "ttl",
  "tos",
  "dscp",
  "ecn",
  "pkttype",
  "mac",
  "physdev",
  "realm",
  "devgroup",
]);

/** Those whose answer hangs on what targets of the same chain may have changed. */
const TOUCHED: Readonly<Record<string, readonly string[]>> = {
  set: ["SET"],
  rpfilter: ["MARK", "CONNMARK", "TOS", "DSCP", "HMARK"],
  tcpmss: ["TCPMSS", "TCPOPTSTRIP"],
  tcp: ["TCPMSS", "TCPOPTSTRIP"],
  string: ["TCPMSS", "TCPOPTSTRIP", "TOS", "DSCP", "TTL", "ECN"],
  u32: ["TCPMSS", "TCPOPTSTRIP", "TOS", "DSCP", "TTL", "ECN"],
  bpf: ["TCPMSS", "TCPOPTSTRIP", "TOS", "DSCP", "TTL", "ECN"],
};

export class Guards {
  readonly #diagram: Diagram;
  readonly #numbers = new Map<string, number>();
  readonly #list: Guard[] = [];
  readonly #targets = new Set<string>();
  readonly #localChains = new Map<Chain, boolean>();

  constructor(diagram: Diagram, rulesets: readonly Ruleset[]) {
    this.#diagram = diagram;
    for (const { target } of rulesets.flatMap(rulesOf)) {
      if (target !== null) this.#targets.add("name" in target ? target.name : target.kind);
    }
  }

  /** True if the match is a guard, and a fact of each place where it stands. */
  isLocal(match: Match): boolean {
    if (this.partOf(match) === null) return false;
    const name = nameOfMatch(match);
    if (!LOOKING.has(name)) return true;
    return (TOUCHED[name] ?? []).some((target) => this.#targets.has(target));
  }

  /** @param place names where the rule is met, the same in both rule sets for rules that correspond */
  bitOf(match: Match, index: number, part: string, place: string): Node {
    const text = this.textOf(match);
    const local = this.isLocal(match);
    const key = local ? `${place}|${index}|${part}|${text}` : `${part}|${text}`;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#list.length;
      this.#numbers.set(key, number);
      this.#list.push({ match, text, part, index, place: local ? place : null, chance: chanceOf(match) });
    }
    return this.#diagram.bit(FIRST_GUARD_BIT + number);
  }

  /** Which guard a match is; null: it is none. */
  partOf(match: Match): string | null {
    switch (match.kind) {
      case "tcp":
        return match.option === null ? null : "option";
      case "conntrack": {
        const { kind: _kind, state: _state, ...others } = match;
        return Object.values(others).every((test) => test === null) ? null : "others";
      }
      case "addrtype":
        return match.limitIface === null ? null : "";
      case "owner":
        return match.supplGroups ? "" : null;
      case "recent":
        return match.op === "set" ? null : "";
      default:
        return FIELD_MATCHES.has(match.kind) ? null : "";
    }
  }

  /** Some match of the rule is a guard. */
  isGuarded({ matches }: Rule): boolean {
    return matches.some((match) => this.partOf(match) !== null);
  }

  /** Something in the chain, or in what it calls, is a fact of the way there. */
  isLocalChain(chain: Chain, chains: ReadonlyMap<string, Chain>): boolean {
    let answer = this.#localChains.get(chain);
    if (answer === undefined) {
      this.#localChains.set(chain, false);
      answer = chain.rules.some(({ matches, target }) => {
        if (matches.some((match) => this.isLocal(match))) return true;
        const callee = target?.kind === "jump" || target?.kind === "goto" ? chains.get(target.chain) : undefined;
        return callee !== undefined && this.isLocalChain(callee, chains);
      });
      this.#localChains.set(chain, answer);
    }
    return answer;
  }

  textOf(match: Match): string {
    return printMatch(match, 4).replace(/^ -m /, "");
  }

  get count(): number {
    return this.#list.length;
  }

  isGuard(bit: number): boolean {
    return bit >= FIRST_GUARD_BIT;
  }

  of(bit: number): Guard {
    return this.#list[bit - FIRST_GUARD_BIT]!;
  }
}

function chanceOf(match: Match): number | null {
  if (match.kind !== "statistic") return null;
  const chance = match.mode === "random" ? match.probability / 2 ** 31 : 1 / match.every;
  return match.negated ? 1 - chance : chance;
}
