// What connections cost. Rates by processor time, so that a busy machine says the same; each is the median of several runs.
//
//     npx tsx bench/flows.ts [main|table|kube|cluster|long] [--flows N] [--rules N] [--seed N] [--runs N] [--packets N]
//
//   main     the host that `npm start` runs, with a million connections that are talked on: those of --traffic flows
//            (assembly/conversation.ts), with handshakes, windows, errors, clashes and endings
//   table    no rules: the first packets of a million connections, then packets of both directions in an order that no cache
//            foresees
//   kube     new connections through a nat table of 5,000 services, 35,000 rules (chains.ts): each is a first segment from a
//            client and port of its own to a service drawn at random; it is translated and confirmed, and times out
//   cluster  the same through all tables of a cluster's node
//   long     a thousand million datagrams of ever new connections through the same host, which time out: of containers
//            (MASQUERADE), to published ports (DNAT), and to the host itself; memory may not grow
//
// In kube, cluster and long the clock moves so that `--flows` connections are alive at any time.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { InterfaceTable } from "../src/compile/interfaces.ts";
import { MemoryTable } from "../src/compile/memory.ts";
import { addressTypes } from "../src/compile/routes.ts";
import { RuleTable } from "../src/compile/ruletable.ts";
import { IpsetTable } from "../src/compile/sets.ts";
import { HOOKS, loadChains, loadHost } from "../src/engine/host.ts";
import type { LoadedChain } from "../src/engine/host.ts";
import { Instance } from "../src/engine/instance.ts";
import { loadHashTables } from "../src/engine/hashtables.ts";
import { loadLists } from "../src/engine/lists.ts";
import type { Host } from "../src/host/host.ts";
import { parseHost } from "../src/host/parse.ts";
import * as layout from "../src/layout.ts";
import { parseAddress } from "../src/net/address.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import type { Ruleset } from "../src/rules/ruleset.ts";
import { loadConversations, loadTraffic, TRAFFIC_KINDS } from "../src/traffic/traffic.ts";
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
  readonly chains: readonly LoadedChain[];
  readonly #firewall: number;
  readonly #tableBytes: number;
  /** Where memory ended when all was ready. */
  #ready: number;
  readonly #packets: number;
  readonly #decisions: number;
  readonly #times: number;
  #details = 0;
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
    this.chains = loadChains(instance, this.#firewall, ruleset, {
      ...{ rules, interfaces: this.interfaces, counting: true, odd: false, nft: false, mostSetBoxes: 0 },
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

  /** Of the table of connections, also those whose time has passed unnoticed. */
  get flowCount(): number {
    return Number(this.instance.exports.flowCount.value) >>> 0;
  }

  /** Makes room for conversations, as `run --synthetic --traffic flows` does; gives the address of their TRAFFIC record. */
  prepareConversations(host: Host, count: number): number {
    const { instance } = this;
    const aimed = this.chains.filter(({ hook }) => hook !== "OUTPUT");
    const traffic = loadTraffic(
      instance,
      aimed.map(({ program, hook, table }) => ({ program, hook: HOOKS.indexOf(hook), nat: table === "nat" })),
      host,
      this.interfaces,
    );
    instance.view().setUint32(traffic + layout.TRAFFIC_SEED, seed, true);
    instance.view().setUint32(traffic + layout.TRAFFIC_KIND, TRAFFIC_KINDS.indexOf("flows"), true);
    loadConversations(instance, traffic, count, true);
    this.#details = instance.allocate(this.#room * layout.DETAIL_BYTES);
    this.#ready = instance.exports.mark();
    return traffic;
  }

  /**
   * Lets conversations say as many packets as there is room for, one batch, and sends these their way; gives seconds of
   * processor time of the latter. `first`: the number of the first packet.
   */
  converse(traffic: number, first: number): number {
    const { exports } = this.instance;
    exports.converse(traffic, this.#packets, this.#details, this.#times, this.#room, first);
    const began = process.cpuUsage().user;
    exports.way(this.#firewall, this.#packets, this.#details, this.#room, this.#decisions, first, this.#times, 0);
    const took = process.cpuUsage().user - began;
    exports.listen(this.#decisions, this.#room);
    return took / 1e6;
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

// -- main

const MAIN = new URL("../examples/docker-host/", import.meta.url);

function mainExample(): { ruleset: Ruleset; host: Host } {
  const [rules, host] = ["rules.txt", "host.json"].map((name) => readFileSync(new URL(name, MAIN), "utf8"));
  return { ruleset: parseRuleset(rules!, { file: "rules.txt" }), host: parseHost(host!, "host.json") };
}

/** Packets of each conversation, on average, before anything is measured: they begin one after the other. */
const SETTLED = 8;
/** Of `flows` connections so many more may be in the table: those that nobody talks on any more, until their time passes. */
const LINGERING = 0.15;

function main(flows: number): void {
  const { ruleset, host } = mainExample();
  const bench = new Bench(ruleset, host, Math.ceil(flows * (1 + LINGERING)), BATCH);
  const traffic = bench.prepareConversations(host, flows);
  let said = 0;
  const converse = (packets: number): number => {
    let seconds = 0;
    for (const end = said + packets; said < end; said += BATCH) seconds += bench.converse(traffic, said);
    return seconds;
  };
  converse(SETTLED * flows);
  const seconds = Array.from({ length: runs }, () => converse(flows));
  const packets = Math.ceil(flows / BATCH) * BATCH;
  // where ends are told they are looked for at once
  bench.instance.exports.setEvents(bench.instance.allocate(layout.EVENT_BYTES), layout.EVENT_BYTES);
  const bytes = bench.flowBytes;
  converse(BATCH);
  print(packets, median(seconds), `packets of ${flows} conversations, ${bench.flowCount} connections alive`);
  console.log(`${(bytes / bench.flowCount).toFixed(0)} bytes a connection alive`);
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

/** Client sockets of each of the three ways take turns: by then their connections have timed out. */
const SOCKETS = 1 << 22;
const [CONTAINER, OUTSIDE, RESOLVERS] = [0xac110002, 0x20000000, 0x08000000];
/** How often memory is told, and looked at. */
const TELLINGS = 20;

function long(packets: number, flows: number): void {
  const { ruleset, host } = mainExample();
  const room = 1 << 16;
  const bench = new Bench(ruleset, host, 2 * flows, room);
  const [docker0, eth0] = ["docker0", "eth0"].map((name) => bench.interfaces.numberOf(name));
  const own = parseAddress("10.10.10.101")!;
  const { udp, tcp } = host.timeouts;
  const life = (udp + tcp.SYN_SENT + udp) / 3;
  let seconds = 0;
  let opened = 0;
  let told = 0;
  const memory: number[] = [];
  while (opened < packets) {
    const words = bench.records();
    const times = bench.times();
    for (let i = 0; i < room; i++, opened++) {
      const socket = Math.floor(opened / 3) % SOCKETS;
      if (opened % 3 === 0) {
        sendFrom(words, i, docker0!, CONTAINER, 1024 + (socket & 0x7fff));
        sendTo(words, i, RESOLVERS + (socket >>> 15), 53, UDP);
      } else {
        sendFrom(words, i, eth0!, OUTSIDE + (socket >>> 4), 1024 + (socket & 15));
        if (opened % 3 === 1) sendTo(words, i, own, 32768, TCP);
        else sendTo(words, i, own, 53, UDP);
      }
      times[i] = (opened * life) / flows;
    }
    seconds += bench.send();
    memory.push(bench.instance.memoryBytes);
    if (opened >= ((told + 1) * packets) / TELLINGS || memory.length === settledAt(flows, room)) {
      const [engine, all] = [memory.at(-1)!, process.memoryUsage.rss()].map((bytes) => (bytes / 2 ** 20).toFixed(1));
      console.log(
        `${opened} packets, ${seconds.toFixed(0)} s: ${bench.flowCount} records in use; engine ${engine} MiB, process ${all} MiB`,
      );
      told = Math.floor((opened * TELLINGS) / packets);
    }
  }
  print(opened, seconds, "packets, each of a new connection");
  // once as many connections as live at a time have come and gone, nothing more may be needed
  const settled = memory[settledAt(flows, room) - 1];
  if (settled !== undefined && memory.at(-1)! > settled) throw new Error("memory has grown");
}

/** So many times have packets been sent by then. */
function settledAt(flows: number, room: number): number {
  return Math.ceil((4 * flows) / room);
}

if (mode === "main") main(flag("flows", 1 << 20));
else if (mode === "table") table(flag("flows", 1 << 20));
else if (mode === "kube" || mode === "cluster") services(mode, flag("rules", 35_000), flag("flows", 1 << 18));
else if (mode === "long") long(flag("packets", 1e9), flag("flows", 1 << 20));
else {
  process.stderr.write(`unknown mode ${mode}: main, table, kube, cluster or long\n`);
  process.exit(2);
}
