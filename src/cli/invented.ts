// A rule set -> a host it could be meant for, where none is given: every interface that a rule names, with made-up
// addresses. Packets go their whole way there; what depends on the real host's addresses and routes is not seen.

import { parseHost } from "../host/parse.ts";
import type { Host } from "../host/host.ts";
import { rulesOf } from "../rules/ruleset.ts";
import type { InterfaceTest, Ruleset } from "../rules/ruleset.ts";

const MOST_INTERFACES = 64;

/** The text is that of a HOST.json. */
export function inventHost(rulesets: readonly Ruleset[]): { readonly host: Host; readonly text: string } {
  const names = new Set(rulesets.flatMap(interfaceTests).map(nameThatMeets));
  names.delete("lo");
  for (const spare of ["eth0", "eth1"]) if (names.size < 2) names.add(spare);
  const interfaces = [...names]
    .sort()
    .slice(0, MOST_INTERFACES)
    .map((name, index) => ({ name, addresses: [`10.${index}.0.1/16`] }));
  const text = JSON.stringify({ interfaces, routes: [`default via 10.0.0.254 dev ${interfaces[0]!.name}`] });
  return { host: parseHost(text, "(made-up host)"), text };
}

function interfaceTests(ruleset: Ruleset): InterfaceTest[] {
  return rulesOf(ruleset)
    .flatMap(({ header }) => [header.inIface, header.outIface])
    .filter((test) => test !== null);
}

function nameThatMeets({ name, wildcard }: InterfaceTest): string {
  return wildcard ? `${name === "" ? "eth" : name.slice(0, 14)}0` : name;
}
