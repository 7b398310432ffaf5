// A rule set on a host, ready to be asked: text has been parsed, chains are lowered and their trees built.

import type { Outcome, RuleCounter, Trace } from "./classifier.ts";
import { InterfaceTable } from "./compile/interfaces.ts";
import type { LowerContext } from "./compile/lower.ts";
import { MemoryTable } from "./compile/memory.ts";
import { addressTypes } from "./compile/routes.ts";
import { RuleTable } from "./compile/ruletable.ts";
import { needsTracking } from "./compile/tracking.ts";
import { loadChains, loadHost } from "./engine/host.ts";
import { EngineError, Instance } from "./engine/instance.ts";
import { isOdd, readOutcome, writeArrival } from "./engine/records.ts";
import type { OutcomeContext } from "./engine/records.ts";
import type { Host } from "./host/host.ts";
import { DECISION_BYTES, DECISION_TRACE_END, FIELD_COUNT, PACKET_BYTES } from "./layout.ts";
import type { Arrival } from "./packet/packet.ts";
import type { Ruleset } from "./rules/ruleset.ts";

export interface FirewallOptions {
  /** For what the kernel would draw by lot. 1. */
  readonly seed?: number;
  /** Count every rule, and be able to trace; otherwise rules without effect on the answer are dropped. true. */
  readonly counting?: boolean;
}

export interface Answer {
  readonly outcome: Outcome;
  /** Empty unless asked for. */
  readonly trace: Trace;
}

/** Throws a RuleError for what cannot be compiled, an EngineError where memory does not suffice. */
export function compileFirewall(ruleset: Ruleset, host: Host, options: FirewallOptions = {}): Firewall {
  return new Firewall(ruleset, host, options);
}

/** Packets in one call of the engine. */
const BATCH = 4096;
/** Rule numbers of one batch's traces. */
const TRACE_WORDS = 1 << 20;
const STATE_BYTES = 16;
const COUNTER_BYTES = 16;

export class Firewall {
  readonly ruleset: Ruleset;
  readonly host: Host;
  readonly rules: RuleTable;
  readonly interfaces: InterfaceTable;
  readonly tracking: boolean;
  readonly treeBytes: number;
  readonly clauseCount: number;
  readonly #instance = new Instance();
  readonly #context: LowerContext;
  readonly #firewall: number;
  readonly #counters: number;
  readonly #packets: number;
  readonly #decisions: number;
  readonly #times: number;
  #trace = 0;
  #traceWords = 0;
  #oddLoaded = false;
  #nextIndex = 0;

  constructor(ruleset: Ruleset, host: Host, options: FirewallOptions) {
    this.ruleset = ruleset;
    this.host = host;
    this.rules = new RuleTable(ruleset);
    this.interfaces = new InterfaceTable(host.interfaces.map((iface) => iface.name));
    this.tracking = host.conntrack || needsTracking(ruleset);
    const memory = new MemoryTable(ruleset);
    this.#context = {
      rules: this.rules,
      interfaces: this.interfaces,
      counting: options.counting ?? true,
      odd: false,
      addressesOf: addressTypes(host, this.interfaces),
      stateOf: (rule, match) => memory.numberOf(rule, match),
    };
    const instance = this.#instance;
    this.#counters = instance.allocateZeroed(this.rules.count * COUNTER_BYTES);
    const states = instance.allocateZeroed(memory.count * STATE_BYTES);
    // one frame of the return stack for each chain: they do not call each other in circles
    const chainCount = ruleset.tables.reduce((sum, table) => sum + table.chains.length, 0);
    const stack = instance.allocate((chainCount + 1) * 8);
    instance.exports.setLookUp(this.#counters, stack);
    instance.exports.setGuards(states, options.seed ?? 1);
    this.#firewall = loadHost(instance, host, this.interfaces, this.tracking);
    const { treeBytes, clauseCount } = loadChains(instance, this.#firewall, ruleset, this.#context);
    this.treeBytes = treeBytes;
    this.clauseCount = clauseCount;
    this.#packets = instance.allocate(BATCH * PACKET_BYTES);
    this.#decisions = instance.allocate(BATCH * DECISION_BYTES);
    this.#times = instance.allocate(BATCH * 8);
  }

  /** What a run needs beside packets: trees, programs, counters, buffers. */
  get memoryBytes(): number {
    return this.#instance.memoryBytes;
  }

  /** Each arrival its whole way, in order, each the first of its connection. */
  run(arrivals: readonly Arrival[], options: { readonly trace?: boolean } = {}): Answer[] {
    const answers: Answer[] = [];
    const trace = options.trace ?? false;
    // a packet cannot meet more rules than there are clauses, over lo twice
    const most = 2 * this.clauseCount + 64;
    const batch = trace ? Math.max(1, Math.min(BATCH, Math.floor(TRACE_WORDS / most))) : BATCH;
    if (trace && this.#trace === 0) {
      this.#traceWords = Math.max(TRACE_WORDS, most);
      this.#trace = this.#instance.allocate(this.#traceWords * 4);
    }
    for (let first = 0; first < arrivals.length; first += batch) {
      this.#batch(arrivals.slice(first, first + batch), trace, answers);
    }
    return answers;
  }

  /** Packets and bytes counted so far: rules in the order of the set, then policies. */
  counters(): RuleCounter[] {
    const view = this.#instance.view();
    return Array.from({ length: this.rules.count }, (_, number) => ({
      ref: this.rules.refOf(number),
      packets: Number(view.getBigUint64(this.#counters + number * COUNTER_BYTES, true)),
      bytes: Number(view.getBigUint64(this.#counters + number * COUNTER_BYTES + 8, true)),
    }));
  }

  #batch(arrivals: readonly Arrival[], trace: boolean, answers: Answer[]): void {
    const instance = this.#instance;
    if (!this.#oddLoaded && arrivals.some((arrival) => isOdd(arrival.packet))) {
      loadChains(instance, this.#firewall, this.ruleset, { ...this.#context, odd: true });
      this.#oddLoaded = true;
    }
    const times = new Float64Array(instance.exports.memory.buffer, this.#times, arrivals.length);
    arrivals.forEach((arrival, i) => {
      writeArrival(instance.words(this.#packets + i * PACKET_BYTES, FIELD_COUNT), arrival, this.interfaces);
      times[i] = arrival.time;
    });
    instance.exports.setTrace(trace ? this.#trace : 0, trace ? this.#traceWords * 4 : 0);
    instance.exports.way(this.#firewall, this.#packets, arrivals.length, this.#decisions, this.#nextIndex, this.#times);
    this.#nextIndex += arrivals.length;
    const view = instance.view();
    const context: OutcomeContext = this;
    let traced = 0;
    arrivals.forEach((arrival, i) => {
      const at = this.#decisions + i * DECISION_BYTES;
      const end = view.getUint32(at + DECISION_TRACE_END, true);
      const refs = trace
        ? Array.from(instance.words(this.#trace + traced * 4, end - traced), (n) => this.rules.refOf(n))
        : [];
      traced = end;
      answers.push({ outcome: readOutcome(view, at, arrival.packet.proto, context), trace: refs });
    });
  }
}

export { EngineError };
