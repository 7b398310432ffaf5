// What rules remember from packet to packet, and what they draw by lot.
//
// State belongs to the rule (table, chain, number), from whatever hook it is reached.

import { chance } from "../net/chance.ts";
import { bucketOf, creditClock, nanoseconds, nftTokenOf } from "../net/limit.ts";
import { TABLES } from "../rules/ruleset.ts";
import type { CountedConnections } from "./connlimit.ts";
import { DEFAULT_ZONE, makeConnection } from "./connection.ts";
import type { Connection } from "./connection.ts";
import { HashTables } from "./hashlimit.ts";
import { History } from "./history.ts";
import { SetTable } from "./sets.ts";
import type { LimitMatch, Rule, Ruleset, StatisticMatch } from "../rules/ruleset.ts";

/** A match by its rule and its index there: equal matches may be one object. */
export interface MatchPlace {
  readonly rule: Rule;
  readonly index: number;
}

interface Credits {
  left: number;
  /** Clock of the last evaluation. */
  seen: number;
}

/** Stands for the number of a rule where none has asked. */
const NO_RULE = 0xffffffff;

/** For each rule by the index of its match. */
type StatesOf<State> = Map<Rule, Map<number, State>>;

export class Memory {
  /** Lists and quotas. */
  readonly history: History;
  readonly sets: SetTable;
  readonly hashTables: HashTables;
  readonly #seed: number;
  /** How many rules stand before each one. */
  readonly #numbers = new Map<Rule, number>();
  readonly #credits: StatesOf<Credits> = new Map();
  readonly #evaluations: StatesOf<{ count: number }> = new Map();
  readonly #counted: StatesOf<CountedConnections> = new Map();
  readonly #draws = new Map<Rule | null, number>();
  readonly #templates = new Map<Rule, Connection>();
  #packet = 0;
  #clock = 0;
  #seconds = 0;

  constructor(ruleset: Ruleset, seed: number) {
    this.history = new History(ruleset);
    this.sets = new SetTable(ruleset);
    this.hashTables = new HashTables(ruleset);
    this.#seed = seed;
    for (const name of TABLES) {
      const table = ruleset.tables.find((one) => one.name === name);
      for (const rule of table?.chains.flatMap((chain) => chain.rules) ?? []) {
        this.#numbers.set(rule, this.#numbers.size);
      }
    }
  }

  /** To be called for each packet: its index in the run, from 0, and when it comes. */
  start(packet: number, seconds: number): void {
    this.#packet = packet;
    this.#clock = creditClock(seconds);
    this.#seconds = seconds;
    this.history.start(seconds);
    this.sets.start(seconds);
    this.hashTables.start(seconds);
    this.#draws.clear();
  }

  /** When the packet came. */
  get seconds(): number {
    return this.#seconds;
  }

  /** 32 bits, others at each call. null: no rule has asked. */
  draw(rule: Rule | null): number {
    const before = this.#draws.get(rule) ?? 0;
    this.#draws.set(rule, before + 1);
    return chance(this.#seed, rule === null ? NO_RULE : this.#numbers.get(rule)!, this.#packet, before);
  }

  /**
   * What a rule with CT puts in a connection's place: one for all packets, and a connmark that is set there stays
   * (nf_ct_tmpl_alloc() in net/netfilter/nf_conntrack_core.c, xt_ct_tg_check() in xt_CT.c).
   */
  template(rule: Rule): Connection {
    const nothing = { src: 0, dst: 0, proto: 0, sport: 0, dport: 0 };
    const template = this.#templates.get(rule) ?? makeConnection(nothing, nothing, DEFAULT_ZONE);
    template.confirmed = true;
    this.#templates.set(rule, template);
    return template;
  }

  /** Of a match connlimit. */
  counted(place: MatchPlace): CountedConnections {
    return stateOf(this.#counted, place, (): CountedConnections => new Map());
  }

  /** limit_mt() in net/netfilter/xt_limit.c. */
  limit(place: MatchPlace, { average, burst }: LimitMatch): boolean {
    const { cost, cap } = bucketOf(average, burst);
    return this.#takes(place, cost, cap, this.#clock);
  }

  /** nft_limit_eval() in net/netfilter/nft_limit.c. */
  nftLimit(place: MatchPlace, { average, burst }: LimitMatch): boolean {
    const cost = nftTokenOf(average);
    return this.#takes(place, cost, cost * burst, nanoseconds(this.#seconds));
  }

  /** A bucket of `cap` credits, which come with the clock; a packet takes `cost`. */
  #takes(place: MatchPlace, cost: number, cap: number, clock: number): boolean {
    const state = stateOf(this.#credits, place, () => ({ left: cap, seen: clock }));
    state.left = Math.min(cap, state.left + clock - state.seen);
    state.seen = clock;
    if (state.left < cost) return false;
    state.left -= cost;
    return true;
  }

  /** statistic_mt() in net/netfilter/xt_statistic.c. */
  statistic(place: MatchPlace, match: StatisticMatch): boolean {
    if (match.mode === "random") return (this.draw(place.rule) & 0x7fffffff) < match.probability !== match.negated;
    const state = stateOf(this.#evaluations, place, () => ({ count: 0 }));
    const holds = state.count === match.packet;
    state.count = (state.count + 1) % match.every;
    return holds !== match.negated;
  }
}

function stateOf<State>(states: StatesOf<State>, { rule, index }: MatchPlace, fresh: () => State): State {
  const ofRule = states.get(rule) ?? new Map<number, State>();
  states.set(rule, ofRule);
  const state = ofRule.get(index) ?? fresh();
  ofRule.set(index, state);
  return state;
}
