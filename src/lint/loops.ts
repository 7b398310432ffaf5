// Chains that call each other without end. Where packets could enter them the rules are refused as they are read, so these
// are ones that nothing enters; they come to life with the first jump there.

import type { RuleRef } from "../classifier.ts";
import type { Chain, Table } from "../rules/ruleset.ts";

export interface Loop {
  /** The rule that closes it. */
  readonly rule: RuleRef;
  /** The other calls of the round. */
  readonly calls: readonly RuleRef[];
}

/** One for each call that leads back to where it came from. */
export function loopsOf({ name: table, chains }: Table): readonly Loop[] {
  const byName = new Map(chains.map((chain) => [chain.name, chain]));
  const loops: Loop[] = [];
  const done = new Set<Chain>();
  const path: { readonly chain: Chain; next: number }[] = [];
  const onPath = new Set<Chain>();
  const go = (chain: Chain): void => {
    path.push({ chain, next: 0 });
    onPath.add(chain);
  };
  for (const start of chains) {
    if (!done.has(start)) go(start);
    for (let here = path.at(-1); here !== undefined; here = path.at(-1)) {
      const rule = here.chain.rules[here.next++];
      if (rule === undefined) {
        done.add(here.chain);
        onPath.delete(here.chain);
        path.pop();
        continue;
      }
      if (rule.target?.kind !== "jump" && rule.target?.kind !== "goto") continue;
      const callee = byName.get(rule.target.chain)!;
      if (onPath.has(callee)) {
        const round = path.slice(path.findIndex(({ chain }) => chain === callee));
        const calls = round.map(({ chain, next }): RuleRef => ({ table, chain: chain.name, number: next }));
        loops.push({ rule: calls.at(-1)!, calls: calls.slice(0, -1) });
      } else if (!done.has(callee)) go(callee);
    }
  }
  return loops;
}
