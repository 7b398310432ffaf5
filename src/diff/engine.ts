// What the engine decides about one packet of a chain, as a second judge of a difference.

import type { RuleRef } from "../classifier.ts";
import type { InterfaceTable } from "../compile/interfaces.ts";
import { needsOrigins } from "../compile/origins.ts";
import { isOdd, writeArrival } from "../engine/records.ts";
import { benchChain } from "../firewall.ts";
import type { BenchChain } from "../firewall.ts";
import { FIELD_COUNT, FIELD_CT_STATE, FIELD_MARK, FIELD_OUT_IFACE } from "../layout.ts";
import { UnsupportedError } from "../reference/error.ts";
import { RuleError } from "../rules/error.ts";
import { rulesOf } from "../rules/ruleset.ts";
import type { Hook, Rule, Ruleset } from "../rules/ruleset.ts";
import type { Side } from "./program.ts";
import type { Witness } from "./witness.ts";

export class EngineJudge {
  readonly #ruleset: Ruleset;
  readonly #hook: Hook;
  /** For each chain the number that each of the kept rules has in the rule set. */
  readonly #numbers: ReadonlyMap<string, readonly number[]>;
  readonly #standIns = new Map<string, string>();
  /** undefined: not built yet; null: it cannot answer. */
  #bench: BenchChain | null | undefined;

  /** @param concerned numbers of the rules that may hold for the packets that are asked: the others are left out */
  constructor(side: Side, hook: Hook, concerned: ReadonlySet<number>) {
    const keeps = (rule: Rule): boolean => concerned.has(side.numberOf(rule));
    const chains = side.table.chains.map((chain) => ({ ...chain, rules: chain.rules.filter(keeps) }));
    this.#numbers = new Map(
      side.table.chains.map(({ name, rules }) => [name, rules.flatMap((rule, at) => (keeps(rule) ? [at + 1] : []))]),
    );
    this.#ruleset = { family: 4, tables: [{ ...side.table, chains }], notes: [] };
    this.#hook = hook;
  }

  /** The rule or policy that decides; null: the engine does not model what it is asked. */
  decide({ arrival, query, point }: Witness): RuleRef | null {
    if (isOdd(arrival.packet) || point.connmark !== 0) return null;
    this.#bench ??= this.#built();
    if (this.#bench === null) return null;
    const { batch, interfaces, rules } = this.#bench;
    const known = (name: string | null): string | null => {
      if (name === null) return null;
      const found = this.#standIns.get(name) ?? standIn(name, this.#ruleset, interfaces);
      this.#standIns.set(name, found);
      return found;
    };
    const record = new Uint32Array(FIELD_COUNT);
    writeArrival(record, { ...arrival, inIface: known(arrival.inIface) }, interfaces);
    record[FIELD_OUT_IFACE] = interfaces.numberOf(known(query.outIface));
    record[FIELD_MARK] = point.mark;
    record[FIELD_CT_STATE] = point.ct_state;
    batch.load(record);
    batch.classify();
    const ref = rules.refOf(batch.ruleOf(batch.answers()[0]!));
    return ref.number === "policy" ? ref : { ...ref, number: this.#numbers.get(ref.chain)![ref.number - 1]! };
  }

  #built(): BenchChain | null {
    // who owns a socket, and frames, stand in no record
    if (needsOrigins(this.#ruleset)) return null;
    try {
      return benchChain(this.#ruleset, this.#ruleset.tables[0]!.name, this.#hook);
    } catch (error) {
      // what it does not model the reference alone answers
      if (error instanceof RuleError || error instanceof UnsupportedError) return null;
      throw error;
    }
  }
}

/** The interface that stands in a table for all those which the rules do not tell from this one. */
export function standIn(name: string, ruleset: Ruleset, interfaces: InterfaceTable): string {
  if (interfaces.has(name)) return name;
  const wildcards = rulesOf(ruleset)
    .flatMap(({ header }) => [header.inIface, header.outIface])
    .filter((test) => test?.wildcard === true && test.name !== "" && name.startsWith(test.name))
    .map((test) => test!.name)
    .sort((a, b) => b.length - a.length);
  return wildcards.length === 0 ? "~" : `${wildcards[0]!}~`.slice(-15);
}
