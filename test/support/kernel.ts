// What the Linux kernel says, beside what a classifier says.

import type { FinalPacket, Outcome, RuleRef } from "../../src/classifier.ts";
import { formatAddress, parseAddress } from "../../src/net/address.ts";
import type { Hook, TableName } from "../../src/rules/ruleset.ts";
import type { HostJson } from "./arbitrary-host.ts";
import type { PacketJson } from "./arbitrary-packets.ts";
import type { Answer } from "./classifiers.ts";
import { askOracle } from "./oracle.ts";

/** One line of the oracle's output, as far as it is compared. */
export interface KernelLine {
  readonly verdict: Outcome["verdict"] | "held";
  readonly where?: string;
  readonly out?: string;
  readonly in?: string;
  readonly packet?: KernelPacket;
  readonly path?: readonly Hook[];
  readonly ct_state?: Outcome["ctState"];
  readonly reply?: string;
  readonly trace?: readonly KernelRef[];
}

interface KernelPacket {
  readonly src: string;
  readonly dst: string;
  readonly sport?: number;
  readonly dport?: number;
  readonly icmp_id?: number;
  readonly ttl: number;
  readonly tos: number;
  readonly mark: number;
}

interface KernelRef {
  readonly table: TableName;
  readonly chain: string;
  readonly rule?: number;
  readonly policy?: string;
  readonly spec?: string;
}

/** In the order of the packets, each the first of its flow. Throws where the oracle refuses. */
export function askKernel(rules: string, host: HostJson, packets: readonly PacketJson[]): readonly KernelLine[] {
  const verdicts = askOracle(
    rules,
    { ...host },
    packets.map((packet) => ({ ...packet })),
  );
  return verdicts as unknown as readonly KernelLine[];
}

/**
 * Null if the kernel agrees, else what it says and what the answer says. Where what the host itself sends back may be
 * lost, whether it sent anything is not compared.
 */
export function differenceFromKernel(kernel: KernelLine, answer: Answer, answersArrive: boolean): string | null {
  let left = factsOfKernel(kernel, answer);
  let right = factsOf(answer, tellsPorts(kernel));
  if (!answersArrive && (left.reply === null || right.reply === null))
    [left, right] = [unanswered(left), unanswered(right)];
  for (const key of Object.keys(left) as (keyof Facts)[]) {
    if (JSON.stringify(left[key]) !== JSON.stringify(right[key])) {
      return `${key}: the kernel says ${JSON.stringify(left[key])}, the answer is ${JSON.stringify(right[key])}`;
    }
  }
  return null;
}

interface Facts {
  verdict: string;
  where: string | null;
  iface: string | null;
  path: readonly string[];
  state: string | null;
  reply: string | null;
  packet: Record<string, string | number> | null;
  trace: readonly string[];
}

function unanswered(facts: Facts): Facts {
  return { ...facts, reply: null, verdict: facts.verdict === "rejected" ? "dropped" : facts.verdict };
}

function factsOfKernel(line: KernelLine, { outcome }: Answer): Facts {
  return {
    verdict: line.verdict,
    where: line.where ?? null,
    iface: line.out ?? line.in ?? null,
    path: line.path ?? [],
    state: line.ct_state === undefined ? "untold" : line.ct_state,
    reply: line.reply ?? null,
    packet: line.packet === undefined ? null : packetFacts(finalOf(line.packet), outcome.chosen || !tellsPorts(line)),
    trace: (line.trace ?? []).map(({ table, chain, rule }) => `${table} ${chain} ${rule ?? "policy"}`),
  };
}

function factsOf({ outcome, trace }: Answer, ports: boolean): Facts {
  const ended = outcome.verdict === "dropped" || outcome.verdict === "rejected";
  return {
    verdict: outcome.verdict,
    where: outcome.where,
    iface: outcome.iface,
    path: outcome.path,
    state: outcome.ctState === undefined ? "untold" : outcome.ctState,
    reply: outcome.reply,
    // of a packet that has ended the kernel tells nothing more
    packet: ended ? null : packetFacts(outcome.packet, outcome.chosen || !ports),
    trace: trace.map(({ table, chain, number }) => `${table} ${chain} ${number}`),
  };
}

/** The oracle shows the ports of TCP and UDP alone, and the id of ICMP. */
function tellsPorts({ packet }: KernelLine): boolean {
  return packet?.sport !== undefined || packet?.icmp_id !== undefined;
}

/** Without the ports where the kernel draws lots. */
function packetFacts(packet: FinalPacket, chosen: boolean): Record<string, string | number> {
  const { sport, dport, icmpId, ttl, tos, mark } = packet;
  const shown = { ttl, tos, mark, src: formatAddress(packet.src), dst: formatAddress(packet.dst) };
  return chosen ? shown : { ...shown, sport, dport, icmpId };
}

function finalOf(packet: KernelPacket): FinalPacket {
  return {
    src: parseAddress(packet.src)!,
    dst: parseAddress(packet.dst)!,
    sport: packet.sport ?? 0,
    dport: packet.dport ?? 0,
    icmpId: packet.icmp_id ?? 0,
    ttl: packet.ttl,
    tos: packet.tos,
    mark: packet.mark,
  };
}

/** The kernel's answer in our words; facts that it does not tell stand as zero. */
export function kernelAnswer(line: KernelLine): Answer {
  const trace = (line.trace ?? []).map(refOf);
  const ended = line.verdict === "dropped" || line.verdict === "rejected";
  const decided = ended ? line.trace?.at(-1) : line.trace?.findLast(({ table }) => table === "filter");
  const translated = (targets: RegExp): RuleRef | null => {
    const found = line.trace?.findLast(
      ({ table, spec }) => table === "nat" && spec !== undefined && targets.test(spec),
    );
    return found === undefined ? null : refOf(found);
  };
  if (line.verdict === "held") throw new Error("a fragment was held back: no answer has a word for that");
  return {
    outcome: {
      verdict: line.verdict,
      where: (line.where ?? null) as Outcome["where"],
      rule: decided === undefined || line.where === "routing" ? null : refOf(decided),
      iface: line.out ?? line.in ?? null,
      packet: line.packet === undefined ? NOWHERE : finalOf(line.packet),
      path: line.path ?? [],
      ctState: line.ct_state,
      reply: line.reply ?? null,
      generated: [],
      dnatRule: translated(/-j (DNAT|REDIRECT)/),
      snatRule: translated(/-j (SNAT|MASQUERADE)/),
      chosen: false,
    },
    trace,
    generatedTrace: [],
  };
}

const NOWHERE: FinalPacket = { src: 0, dst: 0, sport: 0, dport: 0, icmpId: 0, ttl: 0, tos: 0, mark: 0 };

function refOf({ table, chain, rule }: KernelRef): RuleRef {
  return { table, chain, number: rule ?? "policy" };
}
