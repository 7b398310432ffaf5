// One built-in chain -> what becomes of the packet there, and which rules it met.
//
// Follows ipt_do_table() in net/ipv4/netfilter/ip_tables.c. A jump remembers where to go on, a goto does not; RETURN
// and the end of a user chain go on where the last jump stands, or with the policy if there was none.

import type { RuleRef } from "../classifier.ts";
import { modelledTarget } from "../rules/modelled.ts";
import type { ModelledTarget } from "../rules/modelled.ts";
import type { Chain, Rule, Table } from "../rules/ruleset.ts";
import { change } from "./change.ts";
import type { PassingTarget } from "./change.ts";
import { holds } from "./match.ts";
import type { World } from "./match.ts";
import type { Skb } from "./skb.ts";

/** The targets that end a chain. */
export type EndTarget = Exclude<
  ModelledTarget,
  PassingTarget | { readonly kind: "RETURN" | "jump" | "goto" | "TPROXY" }
>;
export type NatTarget = Extract<EndTarget, { readonly kind: "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT" | "NETMAP" }>;

export interface ChainEnd {
  readonly ref: RuleRef;
  /** null for a policy. */
  readonly rule: Rule | null;
  readonly target: EndTarget;
}

/** Where a chain goes on. */
interface Place {
  readonly chain: Chain;
  readonly index: number;
}

/** Is told of a rule that matched, or of a policy; `counts`: its counter says so. */
type Met = (ref: RuleRef, counts: boolean) => void;

/** Changes `skb` as targets say. */
export function walk(table: Table, builtin: Chain, skb: Skb, world: World, met: Met): ChainEnd {
  world.watch?.enters(table.name, builtin, skb);
  const end = walkRules(table, builtin, skb, world, met);
  world.watch?.ends(end.ref, end.target.kind, skb);
  return end;
}

function walkRules(table: Table, builtin: Chain, skb: Skb, world: World, met: Met): ChainEnd {
  const jumps: Place[] = [];
  let place: Place | undefined = { chain: builtin, index: 0 };
  while (place !== undefined) {
    const { chain, index }: Place = place;
    const rule = chain.rules[index];
    const next: Place = { chain, index: index + 1 };
    if (rule === undefined) {
      if (chain !== builtin) world.watch?.falls({ table: table.name, chain: chain.name, number: index + 1 }, skb);
      place = jumps.pop();
      continue;
    }
    const ref: RuleRef = { table: table.name, chain: chain.name, number: index + 1 };
    let at = rule.matches.length;
    const result = holds(rule, skb, world, (stopped) => (at = stopped));
    world.watch?.asks(ref, rule, skb, result, at);
    if (result === "drop") {
      // the verdict of a match in front of the counter (nft_match_eval() in net/netfilter/nft_compat.c)
      if (world.backend === "nft") met(ref, false);
      return { ref, rule, target: { kind: "DROP" } };
    }
    if (!result) {
      place = next;
      continue;
    }
    met(ref, true);
    if (rule.target === null) {
      place = next;
      continue;
    }
    const target = modelledTarget(rule.target);
    switch (target.kind) {
      case "ACCEPT":
      case "DROP":
      case "REJECT":
      case "DNAT":
      case "SNAT":
      case "MASQUERADE":
      case "REDIRECT":
      case "NETMAP":
      case "QUEUE":
      case "NFQUEUE":
        return { ref, rule, target };
      case "TPROXY":
        // tproxy_tg4() in net/netfilter/xt_TPROXY.c: no process here has a socket that would take it
        return { ref, rule, target: { kind: "DROP" } };
      case "jump":
        jumps.push(next);
        if (jumps.length > table.chains.length) throw new Error(`${table.name} ${chain.name}: jumps go in a circle`);
        place = { chain: chainOf(table, target.chain), index: 0 };
        break;
      case "goto":
        place = { chain: chainOf(table, target.chain), index: 0 };
        break;
      case "RETURN":
        place = jumps.pop();
        break;
      default:
        if (change(target, rule, skb, world) === "drop") return { ref, rule, target: { kind: "DROP" } };
        place = next;
    }
  }
  const ref: RuleRef = { table: table.name, chain: builtin.name, number: "policy" };
  met(ref, true);
  return { ref, rule: null, target: { kind: builtin.policy! } };
}

function chainOf(table: Table, name: string): Chain {
  const chain = table.chains.find((one) => one.name === name);
  if (chain === undefined) throw new Error(`${table.name}: there is no chain ${name}`);
  return chain;
}
