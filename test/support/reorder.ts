// A rule set -> the same with neighbours exchanged of which the order cannot matter, chosen by number.
//
// It can not matter where no packet meets both rules, which their headers and ports tell, or where both do the same and
// keep nothing in mind. Matches that find packets broken drop them: where both ask ports they must ask as many bytes.

import type { AddressTest, InterfaceTest, Match, Rule, Ruleset } from "../../src/rules/ruleset.ts";
import { printTarget } from "../../src/rules/print.ts";
import type { Draw } from "./draw.ts";

/** How often chains are gone through. */
const PASSES = 4;

/** @returns the rule set and how many neighbours were exchanged */
export function reordered(ruleset: Ruleset, draw: Draw): { readonly ruleset: Ruleset; readonly exchanged: number } {
  let exchanged = 0;
  const shuffled = (rules: readonly Rule[]): readonly Rule[] => {
    const row = [...rules];
    for (let pass = 0; pass < PASSES; pass++) {
      for (let index = 1; index < row.length; index++) {
        const [first, second] = [row[index - 1]!, row[index]!];
        if (!draw.chance(0.5) || !(areApart(first, second) || areAlike(first, second))) continue;
        [row[index - 1], row[index]] = [second, first];
        exchanged++;
      }
    }
    return row;
  };
  const tables = ruleset.tables.map((table) => ({
    ...table,
    chains: table.chains.map((chain) => ({ ...chain, rules: shuffled(chain.rules) })),
  }));
  return { ruleset: { ...ruleset, tables }, exchanged };
}

/** No packet has what both headers, or the ports that they ask first, ask for. */
function areApart(a: Rule, b: Rule): boolean {
  const [one, other] = [a.header, b.header];
  const protos = [one.proto, other.proto];
  return (
    addressesApart(one.src, other.src) ||
    addressesApart(one.dst, other.dst) ||
    interfacesApart(one.inIface, other.inIface) ||
    interfacesApart(one.outIface, other.outIface) ||
    (protos.every((proto) => proto?.negated === false) && one.proto!.proto !== other.proto!.proto) ||
    portsApart(a, b)
  );
}

function addressesApart(a: AddressTest | null, b: AddressTest | null): boolean {
  if (a === null || b === null || a.negated || b.negated) return false;
  return ((a.address ^ b.address) & a.mask & b.mask) !== 0;
}

function interfacesApart(a: InterfaceTest | null, b: InterfaceTest | null): boolean {
  if (a === null || b === null || a.negated || b.negated || a.wildcard || b.wildcard) return false;
  return a.name !== b.name;
}

function portsApart(a: Rule, b: Rule): boolean {
  const [one, other] = [a.matches[0], b.matches[0]];
  if ((one?.kind !== "tcp" && one?.kind !== "udp") || other?.kind !== one.kind) return false;
  return [
    [one.sport, other.sport],
    [one.dport, other.dport],
  ].some(([left, right]) => {
    if (left == null || right == null || left.negated || right.negated) return false;
    return left.hi < right.lo || right.hi < left.lo;
  });
}

/** Ask packets alone, and of broken ones the same. */
const PLAIN: ReadonlySet<Match["kind"]> = new Set(["comment", "state", "mark", "iprange", "length", "ttl", "tos"]);
const SHOWING: ReadonlySet<Match["kind"]> = new Set(["tcp", "udp", "icmp", "multiport"]);
const FINAL = ["ACCEPT", "DROP", "REJECT", "RETURN"];

function areAlike(a: Rule, b: Rule): boolean {
  if (a.target === null || b.target === null || !FINAL.includes(a.target.kind)) return false;
  if (printTarget(a.target, 4) !== printTarget(b.target, 4)) return false;
  const [one, other] = [a, b].map(({ matches }) => matches.map(({ kind }) => kind).filter((kind) => !PLAIN.has(kind)));
  return one!.every((kind) => SHOWING.has(kind)) && one!.length < 2 && one!.join() === other!.join();
}
