// TABLE:CHAIN on the command line -> a built-in chain of the rules; filter sets have none.

import { BUILTIN_CHAINS, TABLES } from "../rules/ruleset.ts";
import type { Hook, Ruleset, TableName } from "../rules/ruleset.ts";
import { UsageError } from "./errors.ts";
import type { AskedRulesOptions } from "./rulesets.ts";

/** Options that ask something of rules with chains would silently do nothing. Throws UsageError. */
export function refuseForFilterSet(
  options: AskedRulesOptions & { readonly chain?: string; readonly host?: string },
): void {
  for (const name of ["chain", "host", "ipset", "assume", "resolve"] as const) {
    if (options[name] !== undefined) throw new UsageError(`--${name} has no meaning with a filter set`);
  }
}

export interface NamedChain {
  readonly table: TableName;
  readonly hook: Hook;
}

export function chainNamed(name: string, ruleset: Ruleset): NamedChain {
  const [, tableName, chainName] = /^([a-z]+):([A-Z]+)$/.exec(name) ?? [];
  const table = TABLES.find((each) => each === tableName);
  const hook = table === undefined ? undefined : BUILTIN_CHAINS[table].find((each) => each === chainName);
  if (table === undefined || hook === undefined) {
    throw new UsageError(`--chain ${name}: TABLE:CHAIN names a built-in chain, such as filter:FORWARD`);
  }
  if (!ruleset.tables.some((each) => each.name === table))
    throw new UsageError(`--chain ${name}: the rules have no table ${table}`);
  return { table, hook };
}

/** Built-in chains that have rules, in the order of the input. */
export function chainsOf(ruleset: Ruleset): readonly NamedChain[] {
  return ruleset.tables.flatMap(({ name: table, chains }) =>
    BUILTIN_CHAINS[table].flatMap((hook) =>
      chains.some((chain) => chain.name === hook && chain.rules.length > 0) ? [{ table, hook }] : [],
    ),
  );
}
