// A rule set on a host, ready to be asked: text has been parsed, chains are lowered and their trees built.

import type { ConnectionEvent, FinalPacket, Outcome, RuleCounter, RuleRef, Trace } from "./classifier.ts";
import { lowerClassbench } from "./compile/classbench.ts";
import { InterfaceTable, interfacesOfRules } from "./compile/interfaces.ts";
import { lowerChain } from "./compile/lower.ts";
import type { LowerContext } from "./compile/lower.ts";
import { MemoryTable } from "./compile/memory.ts";
import { asksPayload, needsOrigins, needsPayload } from "./compile/origins.ts";
import { addressTypes } from "./compile/routes.ts";
import { RuleTable } from "./compile/ruletable.ts";
import { countsCarried, needsDatagrams, needsTracking } from "./compile/tracking.ts";
import { IpsetTable } from "./compile/sets.ts";
import { Batch } from "./engine/batch.ts";
import { HOOKS, loadChains, loadHost } from "./engine/host.ts";
import type { LoadedChain } from "./engine/host.ts";
import { writeDetails } from "./engine/details.ts";
import { readEvents } from "./engine/events.ts";
import { Payloads } from "./engine/payloads.ts";
import { Datagrams } from "./engine/datagrams.ts";
import { quotedOf, readGenerated } from "./engine/generated.ts";
import type { BytesOf } from "./engine/generated.ts";
import { EngineError, Instance } from "./engine/instance.ts";
import { loadIpsets } from "./engine/ipsets.ts";
import { loadHashTables } from "./engine/hashtables.ts";
import { loadLists } from "./engine/lists.ts";
import { changedBy, writeOrigin } from "./engine/origins.ts";
import { isOdd, PLACES, readArrival, readOutcome, unmodelled, VERDICTS, writeArrival } from "./engine/records.ts";
import type { Host } from "./host/host.ts";
import {
  ANSWER_BYTES,
  DECISION_ANSWER_END,
  DECISION_BYTES,
  DECISION_EVENT_END,
  DECISION_TRACE_END,
  DECISION_VERDICT,
  DETAIL_BODY,
  DETAIL_BYTES,
  DETAIL_CHOSEN,
  DETAIL_COUNT,
  DETAIL_QUOTED,
  DETAIL_QUOTED_SRC,
  EVENT_BYTES,
  FIELD_COUNT,
  ORIGIN_BYTES,
  PACKET_BYTES,
  QUOTED_NONE,
  TALLY_BYTES,
  TALLY_NAT,
  TALLY_NAT_BYTES,
  TALLY_NAT_ENTRIES,
  TALLY_NAT_OTHERS,
  TRACE_LEVEL,
  TRAFFIC_KIND,
  TRAFFIC_SEED,
  VERDICT_UNMODELLED,
} from "./layout.ts";
import type { Arrival, Packet } from "./packet/packet.ts";
import { rewrite } from "./packet/rewrite.ts";
import { hasOtherOptions } from "./packet/tcp.ts";
import { UnsupportedError } from "./reference/error.ts";
import type { ClassbenchRule } from "./rules/classbench.ts";
import { RuleError } from "./rules/error.ts";
import { refuseUnmodelled } from "./rules/modelled.ts";
import { rulesOf } from "./rules/ruleset.ts";
import type { Chain, Hook, Ruleset, TableName } from "./rules/ruleset.ts";
import { readSpoken } from "./traffic/conversation.ts";
import { drawPackets, loadConversations, loadTraffic, TRAFFIC_KINDS } from "./traffic/traffic.ts";
import type { TrafficKind } from "./traffic/traffic.ts";

export interface FirewallOptions {
  /** For what the kernel would draw by lot. 1. */
  readonly seed?: number;
  /** Count every rule, and be able to trace; otherwise rules without effect on the answer are dropped. true. */
  readonly counting?: boolean;
  /** Connections are forgotten after every packet: each is the first of its own. false. */
  readonly stateless?: boolean;
  /**
   * Routing errors and redirects come as the kernel rations them: five errors at once to a sender, then one a second.
   * Without it each packet gets its own, so that answers do not hang on the packets before. false.
   */
  readonly limitErrors?: boolean;
  /** Which iptables has loaded the rules: it orders tables. "legacy". */
  readonly backend?: "legacy" | "nft";
  /** Connections that there may be; more are dropped. 262,144. */
  readonly flows?: number;
  /** Programs of no more boxes are looked up without a tree, 64 at the most. 64. */
  readonly fewBoxes?: number;
}

export interface Answer {
  readonly outcome: Outcome;
  /** Empty unless asked for. */
  readonly trace: Trace;
  /** The rules and policies that packets met which the host made. */
  readonly generatedTrace: Trace;
  /** What became of connections meanwhile. */
  readonly connections: readonly ConnectionEvent[];
}

/** Throws a RuleError for what cannot be compiled, an EngineError where memory does not suffice. */
export function compileFirewall(ruleset: Ruleset, host: Host, options: FirewallOptions = {}): Firewall {
  return new Firewall(ruleset, host, options);
}

export interface RunOptions {
  readonly trace?: boolean;
  /** Index in the run of the first arrival, by which lots are drawn. By default packets are counted on. */
  readonly first?: number;
}

export interface StreamOptions {
  readonly packets: number;
  readonly seed?: number;
  readonly traffic?: TrafficKind;
  /** One packet in so many is given out to be checked; 0: none. */
  readonly sampleEvery?: number;
  /** The number of the first of them in the stream, by which it is made and lots are drawn. By default 0, and packets are counted on. */
  readonly first?: number;
}

export interface ConversationOptions {
  readonly packets: number;
  readonly seed?: number;
  /** Clients and servers that talk at the same time. */
  readonly conversations: number;
  /** So many packets are given out to be checked, the first of all; 0: none. */
  readonly sampled?: number;
}

/** What a stream has done since the last one. */
export interface StreamStep {
  readonly packets: number;
  /** Milliseconds spent making packets, and sending them their way. */
  readonly generateMs: number;
  readonly wayMs: number;
  /** Outcome null: the packet is not modelled. */
  readonly samples: readonly { readonly arrival: Arrival; readonly outcome: Outcome | null }[];
}

/** What the streams of a firewall have added up to. */
export interface Tally {
  readonly verdicts: readonly {
    readonly verdict: Outcome["verdict"];
    readonly where: Outcome["where"];
    readonly packets: number;
  }[];
  /** Packets that the host model does not answer (source routes, ...). */
  readonly unmodelled: number;
  /** Which nat rule translated to what: destinations with their port, sources without. */
  readonly nat: readonly {
    readonly rule: RuleRef;
    readonly kind: "destination" | "source";
    readonly address: number;
    readonly port: number;
    readonly packets: number;
  }[];
  /** Translations beyond those that are told apart (3,072 different ones). */
  readonly natOthers: number;
}

const FEW_BOXES = 64;
/** Packets in one call of the engine. */
const BATCH = 1024;
/** Answers that the host makes to a packet, at the most: a redirect, a refusal, and what is answered to that. */
const ANSWERS = 4;
/** Changes of connections by one packet, at the most, beside those that time out. */
const EVENTS = 4;
const NO_WORDS = new Uint32Array(0);
/** Connections that the kernel keeps unless it is told otherwise (nf_conntrack_max of a machine with 4 GiB and more). */
const FLOWS = 262_144;
const SAMPLED_BATCH = 64;
/** Packets between two steps of a stream. */
const STEP = 1 << 17;
/** Rule numbers of one batch's traces. */
const TRACE_WORDS = 1 << 20;
/** Rules of one packet's trace; one that meets more is answered without traces alone. */
const MOST_TRACED = 1 << 22;
const STATE_BYTES = 16;
const COUNTER_BYTES = 16;

export class Firewall {
  readonly ruleset: Ruleset;
  readonly host: Host;
  readonly rules: RuleTable;
  readonly interfaces: InterfaceTable;
  readonly tracking: boolean;
  readonly datagrams: Datagrams;
  /** Bytes of the trees of all chains. */
  readonly treeBytes: number;
  readonly clauseCount: number;
  readonly #chains: readonly LoadedChain[];
  readonly #instance = new Instance();
  readonly #context: LowerContext;
  readonly #firewall: number;
  readonly #counters: number;
  readonly #packets: number;
  readonly #decisions: number;
  readonly #times: number;
  /** Origin records; 0: no rule asks for them. */
  #origins = 0;
  readonly #stateless: boolean;
  /** Rules take options of TCP away. */
  readonly #strips: boolean;
  readonly #details: number;
  readonly #answers: number;
  readonly #flows: number;
  /** null: no rule asks for one. */
  readonly #payloads: Payloads | null;
  #events = 0;
  #trace = 0;
  #mostTraced: number | null = null;
  #traceWords = 0;
  #traffic = 0;
  #tally = 0;
  #oddLoaded = false;
  #nextIndex = 0;

  constructor(ruleset: Ruleset, host: Host, options: FirewallOptions) {
    refuseUnmodelled(ruleset);
    this.ruleset = ruleset;
    this.host = host;
    this.#stateless = options.stateless ?? false;
    this.#strips = rulesOf(ruleset).some(({ target }) => target?.kind === "TCPOPTSTRIP");
    this.rules = new RuleTable(ruleset);
    this.interfaces = new InterfaceTable(host.interfaces.map((iface) => iface.name));
    this.tracking = host.conntrack || needsTracking(ruleset);
    const memory = new MemoryTable(ruleset);
    const ipsets = new IpsetTable(ruleset);
    this.#context = {
      rules: this.rules,
      interfaces: this.interfaces,
      counting: options.counting ?? true,
      odd: false,
      nft: options.backend === "nft",
      addressesOf: addressTypes(host, this.interfaces),
      stateOf: (rule, match) => memory.numberOf(rule, match),
      listOf: (name) => memory.listOf(name),
      hashTableOf: (name) => memory.hashTableOf(name),
      ipsets,
      mostSetBoxes: 0,
    };
    const instance = this.#instance;
    instance.exports.setMostFew(options.fewBoxes ?? FEW_BOXES);
    this.#counters = instance.allocateZeroed(this.rules.count * COUNTER_BYTES);
    const states = instance.allocateZeroed((memory.count + 1) * STATE_BYTES);
    // one frame of the return stack for each chain: they do not call each other in circles
    const chainCount = ruleset.tables.reduce((sum, table) => sum + table.chains.length, 0);
    const stack = instance.allocate((chainCount + 1) * 8);
    instance.exports.setLookUp(this.#counters, stack);
    instance.exports.setGuards(states, options.seed ?? 1);
    if (options.limitErrors === true) instance.exports.rationErrors();
    loadLists(instance, memory.lists);
    loadHashTables(instance, memory.hashTables);
    loadIpsets(instance, ipsets, this.interfaces);
    const defragments = this.tracking || needsDatagrams(ruleset);
    this.#firewall = loadHost(instance, host, this.interfaces, {
      tracking: this.tracking,
      datagrams: defragments,
      nat: ruleset.tables.some(({ name }) => name === "nat"),
      draws: memory.count,
      nft: options.backend === "nft",
    });
    this.#chains = loadChains(instance, this.#firewall, ruleset, this.#context);
    this.treeBytes = this.#chains.reduce((sum, chain) => sum + chain.treeBytes, 0);
    const programs = new Set(this.#chains.flatMap(({ program }) => [program, ...program.subs]));
    this.clauseCount = [...programs].reduce((sum, { clauses }) => sum + clauses.length, 0);
    this.#packets = instance.allocate(BATCH * PACKET_BYTES);
    this.#decisions = instance.allocate(BATCH * DECISION_BYTES);
    this.#times = instance.allocate(BATCH * 8);
    this.#payloads = needsPayload(ruleset) ? new Payloads(instance) : null;
    if (needsOrigins(ruleset)) this.#origins = instance.allocate(BATCH * ORIGIN_BYTES);
    this.#details = instance.allocate(BATCH * DETAIL_BYTES);
    this.#answers = instance.allocate(BATCH * ANSWERS * ANSWER_BYTES);
    this.datagrams = new Datagrams(instance, this.#answers, {
      origins: this.#origins !== 0,
      fragmentSeconds: host.fragmentSeconds,
      putPayload: (packet) => this.#putPayload(packet),
      beforePieces: () => {
        this.#loadOdd();
      },
    });
    instance.pieces = this.datagrams;
    this.#flows = this.tracking ? (options.flows ?? FLOWS) : 0;
    if (this.#flows > 0 && instance.exports.setFlows(this.#flows, Number(countsCarried(ruleset))) === 0) {
      throw new EngineError(`the engine's memory (4 GiB) does not hold the table of ${this.#flows} connections`);
    }
  }

  /** What a run needs beside packets: trees, programs, counters, buffers. */
  get memoryBytes(): number {
    return this.#instance.memoryBytes;
  }

  /** Each arrival its whole way, in order. */
  run(arrivals: readonly Arrival[], options: RunOptions = {}): Answer[] {
    const answers: Answer[] = [];
    this.#nextIndex = options.first ?? this.#nextIndex;
    const trace = options.trace ?? false;
    const most = trace ? (this.#mostTraced ??= Math.min(MOST_TRACED, (1 + ANSWERS) * mostRulesMet(this.ruleset))) : 1;
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
    this.#instance.exports.settleCounters();
    const view = this.#instance.view();
    return Array.from({ length: this.rules.count }, (_, number) => ({
      ref: this.rules.refOf(number),
      packets: Number(view.getBigUint64(this.#counters + number * COUNTER_BYTES, true)),
      bytes: Number(view.getBigUint64(this.#counters + number * COUNTER_BYTES + 8, true)),
    }));
  }

  /** Synthetic packets without their answers: `count` of them, those of a stream with the same options from `first` on. */
  draw(first: number, count: number, options: Pick<StreamOptions, "seed" | "traffic">): Arrival[] {
    this.#startTraffic(options);
    const arrivals: Arrival[] = [];
    while (arrivals.length < count) {
      const drawn = arrivals.length;
      const more = Math.min(BATCH, count - drawn);
      this.#instance.exports.generate(this.#traffic, this.#packets, more, first + drawn);
      for (let i = 0; i < more; i++) {
        const words = this.#instance.words(this.#packets + i * PACKET_BYTES, FIELD_COUNT);
        arrivals.push(readArrival(words, first + drawn + i, this.interfaces));
      }
    }
    return arrivals;
  }

  /** Makes synthetic packets and sends them their way, a step at a time. */
  *stream(options: StreamOptions): Generator<StreamStep> {
    refusePayload(this.ruleset);
    const instance = this.#instance;
    this.#startTraffic(options);
    const every = options.sampleEvery ?? 0;
    const { exports } = instance;
    exports.setTrace(0, 0);
    exports.setOrigins(0, 0);
    exports.setEvents(0, 0);
    this.#nextIndex = options.first ?? this.#nextIndex;
    const last = (options.first ?? 0) + options.packets;
    for (let first = options.first ?? 0; first < last;) {
      const end = Math.min(last, first + STEP);
      const start = first;
      let generateMs = 0;
      let wayMs = 0;
      const samples: { arrival: Arrival; outcome: Outcome }[] = [];
      while (first < end) {
        const count = Math.min(BATCH, end - first);
        const began = performance.now();
        exports.generate(this.#traffic, this.#packets, count, first);
        const made = performance.now();
        // answers are asked for only to be compared
        if (every === 0) exports.setAnswers(0, 0);
        else exports.setAnswers(this.#answers, BATCH * ANSWERS * ANSWER_BYTES);
        this.datagrams.begin([]);
        exports.way(this.#firewall, this.#packets, 0, count, this.#decisions, this.#nextIndex, 0, 1);
        exports.tally(this.#tally, this.#decisions, count);
        wayMs += performance.now() - made;
        generateMs += made - began;
        for (let i = every === 0 ? count : (every - (first % every)) % every; i < count; i += every) {
          const sample = this.#sample(i, this.#nextIndex + i);
          if (sample !== null) samples.push(sample);
        }
        this.#nextIndex += count;
        first += count;
      }
      yield { packets: end - start, generateMs, wayMs, samples };
    }
  }

  /** Makes packets that belong together, and sends them their way: their connections are followed. Once for a firewall. */
  *converse({ packets, seed = 1, conversations, sampled = 0 }: ConversationOptions): Generator<StreamStep> {
    refusePayload(this.ruleset);
    const instance = this.#instance;
    const { exports } = instance;
    this.#startTraffic({ seed, traffic: "flows" });
    loadConversations(instance, this.#traffic, conversations, this.#origins === 0);
    const batch = Math.max(1, Math.min(BATCH, conversations >> 1));
    exports.setTrace(0, 0);
    exports.setOrigins(0, 0);
    exports.setEvents(0, 0);
    for (let first = 0; first < packets;) {
      const end = Math.min(packets, first + STEP);
      const start = first;
      let generateMs = 0;
      let wayMs = 0;
      const samples: StreamStep["samples"][number][] = [];
      while (first < end) {
        // small batches leave the first conversations more to say
        const count = Math.min(first < sampled ? Math.min(SAMPLED_BATCH, batch) : batch, end - first);
        const began = performance.now();
        exports.converse(this.#traffic, this.#packets, this.#details, this.#times, count, first);
        const made = performance.now();
        // as they came: NAT translates what errors quote
        const details = first < sampled ? instance.words(this.#details, count * DETAIL_COUNT).slice() : NO_WORDS;
        exports.setAnswers(first < sampled ? this.#answers : 0, first < sampled ? BATCH * ANSWERS * ANSWER_BYTES : 0);
        this.datagrams.begin([]);
        const sent = performance.now();
        exports.way(
          this.#firewall,
          this.#packets,
          this.#details,
          count,
          this.#decisions,
          this.#nextIndex,
          this.#times,
          0,
        );
        exports.tally(this.#tally, this.#decisions, count);
        const gone = performance.now();
        exports.listen(this.#decisions, count);
        wayMs += gone - sent;
        generateMs += made - began + (performance.now() - gone);
        for (let i = 0; i < Math.min(count, sampled - first); i++) {
          const detail = details.subarray(i * DETAIL_COUNT, (i + 1) * DETAIL_COUNT);
          const words = instance.words(this.#packets + i * PACKET_BYTES, FIELD_COUNT);
          const time = instance.view().getFloat64(this.#times + i * 8, true);
          const arrival = readSpoken(words, detail, time, this.#nextIndex + i, this.host, this.interfaces);
          const outcome = this.#outcomeOf(i, arrival);
          samples.push({ arrival, outcome });
        }
        this.#nextIndex += count;
        first += count;
      }
      yield { packets: end - start, generateMs, wayMs, samples };
    }
  }

  /** Connections that there are, also those whose time has passed unnoticed. */
  get flowCount(): number {
    return Number(this.#instance.exports.flowCount.value) >>> 0;
  }

  #startTraffic({ seed = 1, traffic = "edges" }: Pick<StreamOptions, "seed" | "traffic">): void {
    const instance = this.#instance;
    if (this.#traffic === 0) {
      const aimed = this.#chains.filter((chain) => chain.hook !== "OUTPUT");
      this.#traffic = loadTraffic(
        instance,
        aimed.map(({ program, hook, table }) => ({ program, hook: HOOKS.indexOf(hook), nat: table === "nat" })),
        this.host,
        this.interfaces,
      );
      this.#tally = instance.allocateZeroed(TALLY_BYTES);
    }
    const view = instance.view();
    view.setUint32(this.#traffic + TRAFFIC_SEED, seed, true);
    view.setUint32(this.#traffic + TRAFFIC_KIND, TRAFFIC_KINDS.indexOf(traffic), true);
  }

  tally(): Tally {
    const verdicts: { verdict: Outcome["verdict"]; where: Outcome["where"]; packets: number }[] = [];
    const nat: Tally["nat"][number][] = [];
    if (this.#tally === 0) return { verdicts, unmodelled: 0, nat, natOthers: 0 };
    const view = this.#instance.view();
    VERDICTS.forEach((verdict, v) => {
      PLACES.forEach((place, p) => {
        const packets = Number(view.getBigUint64(this.#tally + (v * 8 + p) * 8, true));
        const ended = verdict === "dropped" || verdict === "rejected";
        if (packets > 0) verdicts.push({ verdict, where: ended ? place : null, packets });
      });
    });
    for (let i = 0; i < TALLY_NAT_ENTRIES; i++) {
      const at = this.#tally + TALLY_NAT + i * TALLY_NAT_BYTES;
      const rule = view.getUint32(at, true);
      if (rule === 0) continue;
      nat.push({
        rule: this.rules.refOf(rule - 1),
        kind: view.getUint32(at + 12, true) === 0 ? "destination" : "source",
        address: view.getUint32(at + 4, true),
        port: view.getUint32(at + 8, true),
        packets: Number(view.getBigUint64(at + 16, true)),
      });
    }
    let unanswered = 0;
    for (let i = 0; i < 8; i++)
      unanswered += Number(view.getBigUint64(this.#tally + (VERDICT_UNMODELLED * 8 + i) * 8, true));
    return { verdicts, unmodelled: unanswered, nat, natOthers: view.getUint32(this.#tally + TALLY_NAT_OTHERS, true) };
  }

  /** null: the packet is not modelled. */
  #sample(i: number, id: number): { arrival: Arrival; outcome: Outcome } | null {
    if (unmodelled(this.#instance.view(), this.#decisions + i * DECISION_BYTES) !== null) return null;
    const words = this.#instance.words(this.#packets + i * PACKET_BYTES, FIELD_COUNT);
    const arrival = readArrival(words, id, this.interfaces);
    return { arrival, outcome: this.#outcomeOf(i, arrival)! };
  }

  /** null: the packet is not modelled. */
  #outcomeOf(i: number, { packet }: Arrival): Outcome | null {
    const view = this.#instance.view();
    const at = this.#decisions + i * DECISION_BYTES;
    if (unmodelled(view, at) !== null) return null;
    const answered = i === 0 ? 0 : view.getUint16(at - DECISION_BYTES + DECISION_ANSWER_END, true);
    const count = view.getUint16(at + DECISION_ANSWER_END, true) - answered;
    const answersAt = this.#answers + answered * ANSWER_BYTES;
    // what a record calls the bytes of no arrival are those of this one
    const bytesOf: BytesOf = (body) => (body === 0 ? packet : this.datagrams.bytesOf(body));
    const generated = readGenerated(view, answersAt, count, bytesOf, this);
    const detail = this.#details + i * DETAIL_BYTES;
    const word = (offset: number): number => view.getUint32(detail + offset, true);
    return readOutcome(view, at, packet, this, generated, quotedOf(word, DETAIL_QUOTED_SRC * 4, packet));
  }

  /** The address of its bytes in the engine's memory; 0: they are not known, or nobody asks for them. */
  #putPayload({ payload }: Packet): number {
    return payload === null ? 0 : (this.#payloads?.put(payload) ?? 0);
  }

  #origin(i: number): Uint32Array {
    return this.#instance.words(this.#origins + i * ORIGIN_BYTES, ORIGIN_BYTES / 4);
  }

  #traces(words: Uint32Array): Pick<Answer, "trace" | "generatedTrace"> {
    const trace: RuleRef[] = [];
    const generatedTrace: RuleRef[] = [];
    let refs = trace;
    for (const word of words) {
      if (word >= TRACE_LEVEL) refs = word === TRACE_LEVEL ? trace : generatedTrace;
      else refs.push(this.rules.refOf(word));
    }
    return { trace, generatedTrace };
  }

  /** What has become of the packet, if its options are no longer those of what came; else null. */
  #stripped(i: number, came: Packet, { mark: _mark, ...header }: FinalPacket): Packet | null {
    const body = this.#instance.view().getUint32(this.#details + i * DETAIL_BYTES + DETAIL_BODY * 4, true);
    const bytes = this.datagrams.bytesOf(body)!;
    const { mss: _mss, ...words } = header;
    const packet = rewrite(bytes, { ...words, ...changedBy(this.#origin(i), bytes) });
    return hasOtherOptions(packet, rewrite(came, header)) ? packet : null;
  }

  /** Chains as odd packets meet them; they are made when the first comes. */
  #loadOdd(): void {
    if (this.#oddLoaded) return;
    this.#oddLoaded = true;
    loadChains(this.#instance, this.#firewall, this.ruleset, { ...this.#context, odd: true });
  }

  #batch(arrivals: readonly Arrival[], trace: boolean, answers: Answer[]): void {
    const instance = this.#instance;
    if (arrivals.some((arrival) => isOdd(arrival.packet))) this.#loadOdd();
    this.datagrams.begin(arrivals.map(({ packet }) => packet));
    this.#payloads?.begin();
    const payloads = arrivals.map(({ packet }) => this.#putPayload(packet));
    const times = new Float64Array(instance.exports.memory.buffer, this.#times, arrivals.length);
    arrivals.forEach((arrival, i) => {
      writeArrival(instance.words(this.#packets + i * PACKET_BYTES, FIELD_COUNT), arrival, this.interfaces);
      if (this.#origins !== 0) writeOrigin(this.#origin(i), arrival, payloads[i]!);
      const details = instance.words(this.#details + i * DETAIL_BYTES, DETAIL_COUNT);
      writeDetails(details, arrival.packet);
      details[DETAIL_BODY] = i + 1;
      times[i] = arrival.time;
    });
    instance.exports.setOrigins(this.#origins, this.#nextIndex);
    instance.exports.setTrace(trace ? this.#trace : 0, trace ? this.#traceWords * 4 : 0);
    instance.exports.setAnswers(this.#answers, BATCH * ANSWERS * ANSWER_BYTES);
    // all connections may end at once
    const eventBytes = (this.#flows + BATCH * EVENTS) * EVENT_BYTES;
    if (this.#events === 0) this.#events = instance.allocate(eventBytes);
    instance.exports.setEvents(this.#events, eventBytes);
    instance.exports.way(
      this.#firewall,
      this.#packets,
      this.#details,
      arrivals.length,
      this.#decisions,
      this.#nextIndex,
      this.#times,
      Number(this.#stateless),
    );
    this.#nextIndex += arrivals.length;
    const view = instance.view();
    let traced = 0;
    let answered = 0;
    let told = 0;
    arrivals.forEach((arrival, i) => {
      const at = this.#decisions + i * DECISION_BYTES;
      const end = view.getUint32(at + DECISION_TRACE_END, true);
      const traces = this.#traces(trace ? instance.words(this.#trace + traced * 4, end - traced) : NO_WORDS);
      traced = end;
      const answerEnd = view.getUint16(at + DECISION_ANSWER_END, true);
      const eventEnd = view.getUint32(at + DECISION_EVENT_END, true);
      if (end === this.#traceWords && trace) {
        throw new UnsupportedError(`it meets more than ${MOST_TRACED} rules, which no trace holds`, arrival.id);
      }
      const reason = unmodelled(view, at);
      if (reason !== null) throw new UnsupportedError(reason, arrival.id);
      const datagram = this.datagrams.wholeOf(i, view.getUint8(at + DECISION_VERDICT));
      const packet = datagram ?? arrival.packet;
      const detail = this.#details + i * DETAIL_BYTES;
      const word = (offset: number): number => view.getUint32(detail + offset, true);
      this.datagrams.choose(word(DETAIL_BODY * 4), word(DETAIL_CHOSEN * 4));
      const answersAt = this.#answers + answered * ANSWER_BYTES;
      const changed = this.#origins === 0 ? {} : changedBy(this.#origin(i), packet);
      const bytesOf: BytesOf = (body) => this.datagrams.bytesOf(body);
      const generated = readGenerated(view, answersAt, answerEnd - answered, bytesOf, this);
      const inner = word(DETAIL_QUOTED * 4) === QUOTED_NONE ? null : quotedOf(word, DETAIL_QUOTED_SRC * 4, packet);
      const outcome = readOutcome(view, at, packet, this, generated, inner);
      const final = { ...outcome.packet, ...changed };
      const bytes = (this.#strips ? this.#stripped(i, packet, final) : null) ?? datagram;
      answers.push({
        outcome: { ...outcome, packet: final, ...(bytes === undefined ? {} : { datagram: bytes }) },
        ...traces,
        connections: readEvents(view, this.#events + told * EVENT_BYTES, eventEnd - told),
      });
      answered = answerEnd;
      told = eventEnd;
    });
  }
}

/** What sets of ipset may add to the tree of one chain that is asked for many packets at once. */
const MOST_SET_BOXES = 400_000;

export interface ChainOptions {
  /** Whose interfaces and addresses the rules ask; null: those that the rules tell apart, and `addrtype` is refused. */
  readonly host?: Host | null;
  /** For what the kernel would draw by lot. 1. */
  readonly seed?: number;
}

/** One built-in chain, its tree built. */
export interface BenchChain {
  readonly batch: Batch;
  /** Turns the batch's answers into rules and policies. */
  readonly rules: RuleTable;
  readonly interfaces: InterfaceTable;
  /** Puts packets drawn for the chain into the batch. */
  readonly draw: (packets: number, options?: { readonly seed?: number; readonly traffic?: TrafficKind }) => void;
}

/** One built-in chain alone. Throws a RuleError for what needs a host where there is none (addrtype). */
export function benchChain(
  ruleset: Ruleset,
  tableName: TableName,
  hook: Hook,
  { host = null, seed = 1 }: ChainOptions = {},
): BenchChain {
  refuseUnmodelled(ruleset);
  refuseRoutes(ruleset);
  refusePayload(ruleset);
  refuseConnlimit(ruleset);
  const table = ruleset.tables.find((each) => each.name === tableName);
  const chain = table?.chains.find((each) => each.name === hook);
  if (table === undefined || chain === undefined) throw new Error(`there is no chain ${tableName}:${hook}`);
  const rules = new RuleTable(ruleset);
  const memory = new MemoryTable(ruleset);
  const ipsets = new IpsetTable(ruleset);
  const interfaces =
    host === null ? interfacesOfRules(ruleset) : new InterfaceTable(host.interfaces.map((iface) => iface.name));
  const program = lowerChain(table, chain, {
    rules,
    interfaces,
    counting: false,
    odd: false,
    nft: false,
    addressesOf: host === null ? null : addressTypes(host, interfaces),
    stateOf: (rule, match) => memory.numberOf(rule, match),
    listOf: (name) => memory.listOf(name),
    hashTableOf: (name) => memory.hashTableOf(name),
    ipsets,
    mostSetBoxes: Math.floor(MOST_SET_BOXES / Math.max(1, ipsets.askers)),
  });
  const batch = new Batch(program, {
    stateCount: memory.count,
    lists: memory.lists,
    hashTables: memory.hashTables,
    ipsets: { table: ipsets, interfaces },
    seed,
  });
  const aimed = { program, hook: HOOKS.indexOf(hook), nat: tableName === "nat" };
  let aims: number | null = null;
  return {
    batch,
    rules,
    interfaces,
    draw: (packets, { seed = 1, traffic = "edges" } = {}) => {
      aims ??= loadTraffic(batch.instance, [aimed], null, interfaces);
      drawPackets(batch, aims, { packets, seed, traffic });
    },
  };
}

/** A ClassBench filter set; the answer of the batch is the number of the first rule that holds, from 0. */
export function benchClassbench(rules: readonly ClassbenchRule[]): Batch {
  return new Batch(lowerClassbench(rules));
}

/** Bounds the rules and policies that one packet meets, and marks of levels, over lo twice: chains that call each other often multiply. */
function mostRulesMet({ tables }: Ruleset): number {
  let sum = 0;
  for (const { chains } of tables) {
    const byName = new Map(chains.map((chain) => [chain.name, chain]));
    const lengths = new Map<Chain, number>();
    // chains may call each other thousands deep
    const path = chains.flatMap((chain) => (chain.policy === null ? [] : [{ chain, next: 0, length: 1 }]));
    for (let here = path.at(-1); here !== undefined; here = path.at(-1)) {
      const rule = here.chain.rules[here.next];
      if (rule === undefined) {
        lengths.set(here.chain, here.length);
        path.pop();
        continue;
      }
      const { target } = rule;
      const callee = target?.kind === "jump" || target?.kind === "goto" ? byName.get(target.chain)! : null;
      const length = callee === null ? 0 : lengths.get(callee);
      if (length === undefined) path.push({ chain: callee!, next: 0, length: 1 });
      else {
        here.length += 1 + length;
        here.next++;
      }
    }
    for (const chain of chains) if (chain.policy !== null) sum += lengths.get(chain)!;
  }
  return 2 * sum + 16;
}

export { EngineError };

function refuseRoutes(ruleset: Ruleset): void {
  const rule = rulesOf(ruleset).find(({ matches }) => matches.some(({ kind }) => kind === "rpfilter"));
  if (rule === undefined) return;
  throw new RuleError("it asks for routes, which a chain alone does not have", rule.position, rule.text);
}

/** Packets that are made here have no payload that anyone could ask. */
function refusePayload(ruleset: Ruleset): void {
  const rule = rulesOf(ruleset).find(asksPayload);
  if (rule === undefined) return;
  throw new RuleError("it asks for the payload, which synthetic packets do not have", rule.position, rule.text);
}

/** Packets of one chain alone belong to no connections that could be counted. */
function refuseConnlimit(ruleset: Ruleset): void {
  const rule = rulesOf(ruleset).find(({ matches }) => matches.some(({ kind }) => kind === "connlimit"));
  if (rule === undefined) return;
  throw new RuleError(
    "match connlimit asks for connections, which a chain alone does not have",
    rule.position,
    rule.text,
  );
}
