// What the kernel drew by lot, drawn again: a packet's number decides over what reference and engine draw for it
// (src/net/chance.ts), so a number is looked for by which they draw the port that the kernel drew.
//
// Then all that follows can be compared to the letter: which ports are still free, who gets an answer to a port, when a range
// is full. A port that nobody can draw there, because it is taken or outside the range, shows as a difference.

import { chance } from "../../src/net/chance.ts";
import { TABLES } from "../../src/rules/ruleset.ts";
import type { NatRange, Rule, Ruleset } from "../../src/rules/ruleset.ts";
import { contains } from "../../src/net/range.ts";
import type { Range } from "../../src/net/range.ts";
import type { Json, Verdict } from "./oracle.ts";

/** Stands for the number of a rule where none has asked. */
const NO_RULE = 0xffffffff;
/** Two lots at most are drawn for a packet, one of them from a short range. */
const MOST_NUMBERS = 1 << 24;

/** A rule draws first the port `port` of these. */
interface Lot {
  readonly rule: number;
  readonly ports: Range;
  readonly port: number;
}

/** The number with which the packet draws what the kernel drew for it; `otherwise` where it drew nothing. */
export function numberDrawing(ruleset: Ruleset, verdict: Verdict, seed: number, otherwise: number): number {
  const lots = lotsOf(ruleset, verdict);
  if (lots.length === 0) return otherwise;
  for (let number = 0; number < MOST_NUMBERS; number++) {
    if (lots.every((lot) => draws(lot, seed, number))) return number;
  }
  throw new Error(`no number draws ${JSON.stringify(lots)}`);
}

function draws({ rule, ports, port }: Lot, seed: number, number: number): boolean {
  return ports.lo + ((chance(seed, rule, number, 0) & 0xffff) % (ports.hi - ports.lo + 1)) === port;
}

function lotsOf(ruleset: Ruleset, verdict: Verdict): readonly Lot[] {
  const events = (verdict["conntrack"] ?? []) as readonly Json[];
  const made = events.find(({ event }) => event === "new");
  if (made === undefined) return [];
  const [orig, reply] = [made["orig"] as Json, made["reply"] as Json];
  const isIcmp = orig["proto"] === "icmp";
  const port = (tuple: Json, key: "sport" | "dport"): number => Number(tuple[isIcmp ? "icmp_id" : key]);
  const applied = natRulesMet(ruleset, verdict);
  const lots: Lot[] = [];
  const source = applied.find(({ target }) => target === "SNAT" || target === "MASQUERADE");
  const [from, to] = [port(orig, "sport"), port(reply, "dport")];
  if (source?.range.basePort == null && (to !== from || (source !== undefined && isRandom(source.range)))) {
    lots.push({ rule: source?.number ?? NO_RULE, ports: source?.range.ports ?? freePorts(isIcmp, from), port: to });
  }
  const destination = applied.find(({ target }) => target === "DNAT" || target === "REDIRECT");
  if (destination !== undefined && destination.range.ports !== null && isRandom(destination.range)) {
    const { ports } = destination.range;
    const given = port(reply, "sport");
    // no port was free, so that the source had to give way: the port is that tried last, the one behind it was drawn
    const isFull = source === undefined && to !== from;
    lots.push({ rule: destination.number, ports, port: !isFull ? given : given === ports.hi ? ports.lo : given + 1 });
  }
  // of other protocols no port is shown; a port from elsewhere nobody drew
  return lots.filter(({ ports, port }) => ports.lo !== ports.hi && contains(ports, port));
}

function isRandom({ random, randomFully, basePort }: NatRange): boolean {
  return basePort === null && (random || randomFully);
}

/** As in nf_nat_l4proto_unique_tuple(). */
function freePorts(isIcmp: boolean, port: number): Range {
  if (isIcmp) return { lo: 0, hi: 65535 };
  if (port < 512) return { lo: 1, hi: 511 };
  return port < 1024 ? { lo: 600, hi: 1023 } : { lo: 1024, hi: 65535 };
}

interface Applied {
  readonly number: number;
  readonly target: string;
  readonly range: NatRange;
}

function natRulesMet(ruleset: Ruleset, verdict: Verdict): readonly Applied[] {
  const numbers = new Map<Rule, number>();
  for (const name of TABLES) {
    const chains = ruleset.tables.find((table) => table.name === name)?.chains ?? [];
    for (const rule of chains.flatMap(({ rules }) => rules)) numbers.set(rule, numbers.size);
  }
  const nat = ruleset.tables.find(({ name }) => name === "nat");
  return ((verdict["trace"] ?? []) as readonly Json[]).flatMap(({ table, chain, rule }) => {
    if (table !== "nat" || rule === undefined) return [];
    const met = nat!.chains.find(({ name }) => name === chain)!.rules[Number(rule) - 1]!;
    const { target } = met;
    return target !== null && "range" in target
      ? [{ number: numbers.get(met)!, target: target.kind, range: target.range }]
      : [];
  });
}
