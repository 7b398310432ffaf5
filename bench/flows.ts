// What connections cost. Rates by processor time, so that a busy machine says the same; each is the median of several runs.
//
//     npx tsx bench/flows.ts [table|kube|cluster|long] [--flows N] [--rules N] [--seed N] [--runs N] [--packets N]
//
//   table    no rules: the first packets of a million connections, then packets of both directions in an order that no cache
//            foresees
//   kube     new connections through a nat table of 5,000 services, 35,000 rules (chains.ts): each is a first segment from a
//            client and port of its own to a service drawn at random; it is translated and confirmed, and times out
//   cluster  the same through all tables of a cluster's node
//   long     a thousand million datagrams of ever new connections that time out; memory may not grow
//
// In kube, cluster and long the clock moves so that `--flows` connections are alive at any time.

import { parseArgs } from "node:util";
import { InterfaceTable } from "../src/compile/interfaces.ts";
import { MemoryTable } from "../src/compile/memory.ts";
import { addressTypes } from "../src/compile/routes.ts";
import { RuleTable } from "../src/compile/ruletable.ts";
import { IpsetTable } from "../src/compile/sets.ts";
import { loadChains, loadHost } from "../src/engine/host.ts";
import { Instance } from "../src/engine/instance.ts";
import { loadHashTables } from "../src/engine/hashtables.ts";
import { loadLists } from "../src/engine/lists.ts";
import type { Host } from "../src/host/host.ts";
import { parseHost } from "../src/host/parse.ts";
import * as layout from "../src/layout.ts";
import { parseAddress } from "../src/net/address.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import type { Ruleset } from "../src/rules/ruleset.ts";
import { drawChainSet } from "./chains.ts";
import { random } from "./random.ts";

const BATCH = 1024;
const [TCP, UDP] = [6, 17];
const SYN = 2;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    flows: { type: "string" },
    rules: { type: "string" },
    packets: { type: "string" },
    seed: { type: "string", default: "1" },
    runs: { type: "string", default: "5" },
  },
});
const mode = positionals[0] ?? "table";
const seed = Number(values.seed);
const runs = Number(values.runs);
const flag = (name: "flows" | "rules" | "packets", otherwise: number): number => Number(values[name] ?? otherwise);

/** Rules on a host in the engine, and room for packet records. */
class Bench {
  readonly interfaces: InterfaceTable;
  readonly instance = new Instance();
  readonly #firewall: number;
  readonly #tableBytes: number;
  /** Where memory ended when all was ready. */
  readonly #ready: number;
  readonly #packets: number;
  readonly #decisions: number;
  readonly #times: number;
  readonly #room: number;

  constructor(ruleset: Ruleset, host: Host, flows: number, room: number) {
    const { instance } = this;
    this.interfaces = new InterfaceTable(host.interfaces.map(({ name }) => name));
    const rules = new RuleTable(ruleset);
    const memory = new MemoryTable(ruleset);
    instance.exports.setLookUp(instance.allocateZeroed(rules.count * 16), instance.allocate(8 * (rules.count + 1)));
    instance.exports.setGuards(instance.allocateZeroed((memory.count + 1) * 16), seed);
    loadLists(instance, memory.lists);
    loadHashTables(instance, memory.hashTables);
    this.#firewall = loadHost(instance, host, this.interfaces, {
      ...{ tracking: true, datagrams: true, nat: true, nft: false },
      draws: memory.count,
    });
    loadChains(instance, this.#firewall, ruleset, {
      ...{ rules, interfaces: this.interfaces, counting: true, odd: false, mostSetBoxes: 0 },
      addressesOf: addressTypes(host, this.interfaces),
      stateOf: (rule, match) => memory.numberOf(rule, match),
      listOf: (name) => memory.listOf(name),
      hashTableOf: (name) => memory.hashTableOf(name),
      ipsets: new IpsetTable(ruleset),
    });
    const begun = instance.exports.mark();
    if (instance.exports.setFlows(flows, 0) === 0) throw new Error(`there is no memory for ${flows} connections`);
    this.#tableBytes = instance.exports.mark() - begun;
    this.#room = room;
    this.#packets = instance.allocateZeroed(room * layout.PACKET_BYTES);
    this.#times = instance.allocateZeroed(room * 8);
    this.#decisions = instance.allocate(BATCH * layout.DECISION_BYTES);
    this.#ready = instance.exports.mark();
  }

  /** Of the table of connections, with all records. */
  get flowBytes(): number {
    return this.#tableBytes + this.instance.exports.mark() - this.#ready;
  }

  /** The records, FIELD_COUNT words each. Valid until packets are sent. */
  records(): Uint32Array {
    return this.instance.words(this.#packets, this.#room * layout.FIELD_COUNT);
  }

  /** Seconds of the packets' clock, one for each. Valid until packets are sent. */
  times(): Float64Array {
    return new Float64Array(this.instance.exports.memory.buffer, this.#times, this.#room);
  }

  /** Sends all packets their way; gives seconds of processor time. `looksAt`: gets each batch's decisions. */
  send(looksAt?: (view: DataView, decisions: number, count: number) => void): number {
    const began = process.cpuUsage().user;
    for (let from = 0; from < this.#room; from += BATCH) {
      const count = Math.min(BATCH, this.#room - from);
      const packets = this.#packets + from * layout.PACKET_BYTES;
      const times = this.#times + from * 8;
      this.instance.exports.way(this.#firewall, packets, 0, count, this.#decisions, from, times, 0);
      looksAt?.(this.instance.view(), this.#decisions, count);
    }
    return (process.cpuUsage().user - began) / 1e6;
  }
}

function sendFrom(words: Uint32Array, packet: number, inIface: number, src: number, sport: number): void {
  const at = packet * layout.FIELD_COUNT;
  words[at + layout.FIELD_SRC] = src;
  words[at + layout.FIELD_SPORT] = sport;
  words[at + layout.FIELD_IN_IFACE] = inIface;
}

function sendTo(words: Uint32Array, packet: number, dst: number, dport: number, proto: number): void {
  const at = packet * layout.FIELD_COUNT;
  words[at + layout.FIELD_DST] = dst;
  words[at + layout.FIELD_DPORT] = dport;
  words[at + layout.FIELD_PROTO] = proto;
  words[at + layout.FIELD_CT_STATE] = layout.CT_FIRST;
  words[at + layout.FIELD_TCP_FLAGS] = proto === TCP ? SYN : 0;
  words[at + layout.FIELD_TTL] = 64;
  words[at + layout.FIELD_LENGTH] = 60;
  words[at + layout.FIELD_TRANSPORT] = 40;
}

function median(list: readonly number[]): number {
  return [...list].sort((a, b) => a - b)[list.length >> 1]!;
}

function print(packets: number, seconds: number, name: string): void {
  console.log(`${(packets / seconds / 1e6).toFixed(2)} million/s  ${name}`);
}

// -- table

const ROUTER = {
  interfaces: [
    { name: "eth0", addresses: ["10.0.0.1/8"] },
    { name: "eth1", addresses: ["192.0.2.1/24"] },
  ],
};
const NO_RULES: Ruleset = { family: 4, tables: [], notes: [] };
const SERVER = 0xc0000207;
const CLIENTS = 0x0a000100;

function table(flows: number): void {
  const draw = random(seed);
  const order = Uint32Array.from({ length: flows }, (_, i) => i);
  for (let i = flows - 1; i > 0; i--) {
    const j = draw.below(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  const names = ["first packets", "answers", "answers again", "packets of the clients"];
  const replies = [false, true, true, false];
  const seconds: number[][] = names.map(() => []);
  let bytes = 0;
  for (let run = 0; run < runs; run++) {
    const bench = new Bench(NO_RULES, parseHost(JSON.stringify(ROUTER), "router"), flows, flows);
    replies.forEach((reply, pass) => {
      const words = bench.records();
      const inIface = bench.interfaces.numberOf(reply ? "eth1" : "eth0");
      for (let i = 0; i < flows; i++) {
        const [client, port] = [CLIENTS + (order[i]! >>> 4), 1024 + (order[i]! & 15)];
        sendFrom(words, i, inIface, reply ? SERVER : client, reply ? 53 : port);
        sendTo(words, i, reply ? client : SERVER, reply ? port : 53, UDP);
      }
      seconds[pass]!.push(bench.send());
    });
    bytes = bench.flowBytes;
  }
  names.forEach((name, pass) => {
    print(flows, median(seconds[pass]!), name);
  });
  console.log(`${(bytes / flows).toFixed(0)} bytes a connection`);
}

// -- kube, cluster

const NODE = {
  interfaces: [
    { name: "eth0", addresses: ["10.0.0.1/16"] },
    { name: "cni0", addresses: ["10.244.0.1/24"] },
  ],
  routes: ["default via 10.0.0.254 dev eth0", "10.244.0.0/14 via 10.0.0.254 dev eth0"],
};
/** Seconds that an unanswered segment's connection, or datagram's, lives at the most. */
const LIFE = 120;

function services(kind: "kube" | "cluster", count: number, flows: number): void {
  const { text } = drawChainSet(kind, count, seed);
  const ruleset = parseRuleset(text, { file: kind });
  const portals = [
    ...text.matchAll(/^-A KUBE-SERVICES -d ([\d.]+)\/32 -p (tcp|udp) .*--dport (\d+) .*-j KUBE-SVC/gm),
  ].map(([, ip, proto, port]) => ({
    dst: parseAddress(ip!)!,
    proto: proto === "tcp" ? TCP : UDP,
    dport: Number(port),
  }));
  const host = parseHost(JSON.stringify(NODE), "node");
  const began = performance.now();
  const bench = new Bench(ruleset, host, 2 * flows, flows);
  const ruleCount = ruleset.tables.flatMap(({ chains }) => chains).reduce((sum, { rules }) => sum + rules.length, 0);
  console.log(
    `${ruleCount} rules, ${portals.length} services; ready in ${(performance.now() - began).toFixed(0)} ms, ${(bench.instance.memoryBytes / 2 ** 20).toFixed(0)} MiB`,
  );
  const outside = { inIface: bench.interfaces.numberOf("eth0"), firstClient: 0x0a000100 };
  const inside = { inIface: bench.interfaces.numberOf("cni0"), firstClient: 0x0af40002 };
  const draw = random(seed);
  const seconds: number[] = [];
  let opened = 0;
  let translated = 0;
  const countTranslated = (view: DataView, decisions: number, sent: number): void => {
    for (let i = 0; i < sent; i++) {
      const rule = view.getUint32(decisions + i * layout.DECISION_BYTES + layout.DECISION_DNAT_RULE, true);
      if (rule !== layout.NONE) translated++;
    }
  };
  let now = 0;
  for (let run = 0; run <= runs; run++) {
    const words = bench.records();
    const times = bench.times();
    for (let i = 0; i < flows; i++) {
      const portal = draw.pick(portals);
      sendTo(words, i, portal.dst, portal.dport, portal.proto);
      // one in four comes from outside, the others are pods; no socket is used twice among many millions
      const { inIface, firstClient } = draw.below(4) === 0 ? outside : inside;
      sendFrom(words, i, inIface, firstClient + (opened % 200), 1024 + (Math.floor(opened / 200) % 64_000));
      opened++;
      now += LIFE / flows;
      times[i] = now;
    }
    const took = bench.send(run > 0 ? undefined : countTranslated);
    // the first run fills the table
    if (run > 0) seconds.push(took);
  }
  print(
    flows,
    median(seconds),
    `new connections, ${flows} alive, ${((100 * translated) / flows).toFixed(1)} % translated`,
  );
}

// -- long

function long(packets: number, flows: number): void {
  const host = parseHost(JSON.stringify(ROUTER), "router");
  const room = 1 << 16;
  const bench = new Bench(NO_RULES, host, 2 * flows, room);
  const inIface = bench.interfaces.numberOf("eth0");
  const { udp } = host.timeouts;
  let seconds = 0;
  let opened = 0;
  let told = 1;
  const memory: number[] = [];
  while (opened < packets) {
    const words = bench.records();
    const times = bench.times();
    for (let i = 0; i < room; i++, opened++) {
      // eight million sockets take turns: by then their connections have timed out
      const socket = opened % (1 << 23);
      sendFrom(words, i, inIface, CLIENTS + (socket >>> 4), 1024 + (socket & 15));
      sendTo(words, i, SERVER, 53, UDP);
      times[i] = (opened * udp) / flows;
    }
    seconds += bench.send();
    memory.push(bench.instance.memoryBytes);
    if (opened >= (told * packets) / 10) {
      const alive = Number(bench.instance.exports.flowCount.value) >>> 0;
      console.log(`${opened} packets: ${alive} records in use, ${(memory.at(-1)! / 2 ** 20).toFixed(1)} MiB`);
      told++;
    }
  }
  print(opened, seconds, "packets, each of a new connection");
  // once as many connections as live at a time have come and gone, nothing more may be needed
  const settled = memory[Math.ceil((4 * flows) / room)];
  if (settled !== undefined && memory.at(-1)! > settled) throw new Error("memory has grown");
}

if (mode === "table") table(flag("flows", 1 << 20));
else if (mode === "kube" || mode === "cluster") services(mode, flag("rules", 35_000), flag("flows", 1 << 18));
else if (mode === "long") long(flag("packets", 1e9), flag("flows", 1 << 20));
else {
  process.stderr.write(`unknown mode ${mode}: table, kube, cluster or long\n`);
  process.exit(2);
}
