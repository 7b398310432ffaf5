// What synthetic packets are drawn from: the boxes of the rules' own clauses, and the ways in and out of the host.
// The packets themselves are made in WASM (assembly/traffic.ts).

import { FIELD_COUNT } from "../layout.ts";
import * as layout from "../layout.ts";
import { BOX_WORDS } from "../compile/program.ts";
import type { Program } from "../compile/program.ts";
import type { InterfaceTable } from "../compile/interfaces.ts";
import { prefixSpan } from "../compile/routes.ts";
import type { Host } from "../host/host.ts";
import type { Batch } from "../engine/batch.ts";
import type { Instance } from "../engine/instance.ts";

export const TRAFFIC_KINDS = ["uniform", "edges", "flows", "zipf"] as const;
export type TrafficKind = (typeof TRAFFIC_KINDS)[number];

/** A program whose clauses traffic aims at. */
export interface AimedProgram {
  readonly program: Program;
  /** HOOK_ of its chain. */
  readonly hook: number;
  readonly nat: boolean;
}

/** More boxes than these are sampled. */
const MOST_AIMS = 65536;
const ADDRESS_WORDS = 2;

/** Writes a TRAFFIC_ record; without a host the packets are for a single chain. Gives its address. */
export function loadTraffic(
  instance: Instance,
  programs: readonly AimedProgram[],
  host: Host | null,
  interfaces: InterfaceTable,
): number {
  const traffic = instance.allocateZeroed(layout.TRAFFIC_BYTES);
  const put = (offset: number, value: number): void => {
    instance.view().setUint32(traffic + offset, value, true);
  };

  const aims = aimsOf(programs);
  const aimsAt = instance.put(new Uint8Array(aims.buffer, 0, aims.byteLength));
  put(layout.TRAFFIC_AIMS, aimsAt);
  put(layout.TRAFFIC_AIM_COUNT, aims.byteLength / layout.AIM_BYTES);
  put(layout.TRAFFIC_IFACE_COUNT, interfaces.names.length);
  if (host === null) return traffic;

  const ways = waysOf(host);
  const waysAt = instance.allocateZeroed(Math.max(1, ways.length) * layout.WAY_BYTES);
  ways.forEach(({ name, prefixes }, i) => {
    const at = instance.allocate(Math.max(4, prefixes.length * 4));
    instance.words(at, prefixes.length).set(prefixes);
    const words = instance.words(waysAt + i * layout.WAY_BYTES, layout.WAY_BYTES / 4);
    words[layout.WAY_IFACE / 4] = interfaces.numberOf(name);
    words[layout.WAY_PREFIXES / 4] = at;
    words[layout.WAY_PREFIX_COUNT / 4] = prefixes.length / ADDRESS_WORDS;
  });
  put(layout.TRAFFIC_WAYS, waysAt);
  put(layout.TRAFFIC_WAY_COUNT, ways.length);

  const own = host.interfaces
    .filter((iface) => iface.name !== "lo")
    .flatMap((iface) => iface.addresses.map((each) => each.address));
  const ownPairs = own.flatMap((address) => [address, address]);
  const ownAt = instance.allocate(Math.max(4, ownPairs.length * 4));
  instance.words(ownAt, ownPairs.length).set(ownPairs);
  put(layout.TRAFFIC_OWN, ownAt);
  put(layout.TRAFFIC_OWN_COUNT, own.length);
  return traffic;
}

/** Seconds between two packets of a conversation, on average. */
const SECONDS_BETWEEN = 4;

/** Makes room for conversations of the traffic. `hostSpeaks`: the host itself opens and answers some. */
export function loadConversations(instance: Instance, traffic: number, count: number, hostSpeaks: boolean): void {
  const at = instance.allocateZeroed(count * layout.CONVERSATION_BYTES);
  const view = instance.view();
  view.setUint32(traffic + layout.TRAFFIC_CONVERSATIONS, at, true);
  view.setUint32(traffic + layout.TRAFFIC_CONVERSATION_COUNT, count, true);
  view.setFloat64(traffic + layout.TRAFFIC_PACE, SECONDS_BETWEEN / count, true);
  view.setUint32(traffic + layout.TRAFFIC_HOST_SPEAKS, Number(hostSpeaks), true);
}

/**
 * Draws packets for a single chain into a batch: interfaces and states too, since there is no host to tell them. `traffic`:
 * the address of its TRAFFIC_ record.
 */
export function drawPackets(
  batch: Batch,
  traffic: number,
  options: { readonly packets: number; readonly seed: number; readonly traffic: TrafficKind },
): void {
  const view = batch.instance.view();
  view.setUint32(traffic + layout.TRAFFIC_SEED, options.seed, true);
  view.setUint32(traffic + layout.TRAFFIC_KIND, TRAFFIC_KINDS.indexOf(options.traffic), true);
  const packets = batch.reserve(options.packets);
  batch.instance.exports.generate(traffic, packets, options.packets, 0);
}

/** AIM records: every box of every clause that stands for a rule. */
function aimsOf(programs: readonly AimedProgram[]): Uint32Array {
  const all = programs.flatMap(({ program, hook, nat }) =>
    [program, ...program.subs].map((each) => ({ program: each, hook, nat })),
  );
  const total = all.reduce((sum, { program }) => sum + program.boxCount, 0);
  const step = Math.max(1, Math.ceil(total / MOST_AIMS));
  const words: number[] = [];
  let seen = 0;
  for (const { program, hook, nat } of all) {
    for (let box = 0; box < program.boxCount; box++) {
      const from = box * BOX_WORDS;
      if (program.clauses[program.boxes[from]!]!.rule === layout.NONE || seen++ % step !== 0) continue;
      for (let i = 0; i < 2 * FIELD_COUNT; i++) words.push(program.boxes[from + 1 + i]!);
      words.push(hook, Number(nat));
    }
  }
  return Uint32Array.from(words);
}

/** Interfaces but lo, each with the prefixes that are routed by it (pairs lo, hi); those with a default route last. */
function waysOf(host: Host): { name: string; prefixes: number[] }[] {
  const ways = host.interfaces.flatMap((iface, index) => {
    if (iface.name === "lo" || !iface.up) return [];
    const routes = host.routes.filter((route) => route.type === "unicast" && route.iface === index);
    const prefixes = routes.flatMap((route) => [route.dst, (route.dst + prefixSpan(route.prefixLength)) >>> 0]);
    return [{ name: iface.name, prefixes, everything: routes.some((route) => route.prefixLength === 0) }];
  });
  return ways.sort((a, b) => Number(a.everything) - Number(b.everything));
}
