// What a stream of synthetic packets came to -> a report for people, or one JSON object.

import type { RuleCounter, RuleRef } from "../classifier.ts";
import type { Tally } from "../firewall.ts";
import { formatAddress } from "../net/address.ts";
import { neverHit } from "./never.ts";
import { grouped, percent } from "./numbers.ts";
import { Places, nameOfRule } from "./places.ts";
import { rateOf } from "./synthetic.ts";
import type { Summary } from "./synthetic.ts";

const HOTTEST = 10;
/** Translations named for each rule; the others are summed up. */
const NAMED_TRANSLATIONS = 6;

interface Translation {
  readonly from: string;
  readonly to: string;
  readonly packets: number;
}

interface NatRule {
  readonly ref: RuleRef;
  readonly packets: number;
  readonly translations: readonly Translation[];
}

/** Many lines, the last one ends in a newline. */
export function reportForPeople(summary: Summary): string {
  const places = new Places(summary.ruleset);
  const { packets, tally, counters, disagreements, checked } = summary;
  const share = (part: number): string => percent(part, packets).padStart(8);
  const counted = (part: number): string => `  ${grouped(part).padStart(15)} ${share(part)}`;
  const lines = [
    `${grouped(packets)} packets (${summary.traffic}, seed ${summary.seed}): ${grouped(rateOf(summary))} packets/s`,
    `  over the whole way, on ${summary.threads === 1 ? "one thread" : `${summary.threads} threads`}, every rule counted: ${seconds(summary.wayMs)}; ${seconds(summary.generateMs)} more to make them`,
    ...(summary.flows === null ? [] : [`  connections were followed: ${grouped(summary.flows)} at the end`]),
  ];
  const section = (title: string, body: readonly string[]): void => {
    lines.push("", title, ...(body.length === 0 ? ["  none"] : body));
  };

  section(
    "Verdicts",
    tally.verdicts.map(
      ({ verdict, where, packets }) => `${counted(packets)}  ${verdict}${where === null ? "" : ` in ${where}`}`,
    ),
  );
  if (tally.unmodelled > 0) lines.push(`${counted(tally.unmodelled)}  not modelled`);
  section("Translations", [
    ...natRules(summary).flatMap(({ ref, packets, translations }) => [
      `${counted(packets)}  ${ruleText(ref, places)}`,
      ...translations.map(({ from, to, packets }) => `${counted(packets)}    ${from} -> ${to}`),
    ]),
    ...(tally.natOthers === 0
      ? []
      : [`${counted(tally.natOthers)}  and others, not told apart: there are too many different ones`]),
  ]);
  section(
    "Hottest rules",
    hottest(counters).map(({ ref, packets }) => `${counted(packets)}  ${ruleText(ref, places)}`),
  );
  section(
    "Policies",
    policies(counters).map(
      ({ ref, packets }) => `${counted(packets)}  ${ref.table} ${ref.chain} ${places.textOf(ref)}`,
    ),
  );
  section(
    "Rules never hit",
    neverHit(summary.ruleset, counters).map(({ ref, reason }) => `  ${ruleText(ref, places)}\n      ${reason}`),
  );
  const least = leastHit(counters);
  if (least > 0) lines.push(`  all others were hit ${grouped(least)} times or more`);
  lines.push(
    "",
    checked === null
      ? "Not checked: rules remember what came before, so the reference cannot answer single packets."
      : `Checked against the reference: ${grouped(checked)} packets, ${grouped(disagreements)} disagreements.`,
  );
  return lines.join("\n") + "\n";
}

/** The same for machines. */
export function reportLine(summary: Summary): object {
  const places = new Places(summary.ruleset);
  const { traffic, seed, packets, tally, counters } = summary;
  const place = (ref: RuleRef): object => placeOf(ref, places);
  return {
    ...{ packets, traffic, seed, threads: summary.threads },
    way_ms: round(summary.wayMs),
    generate_ms: round(summary.generateMs),
    packets_per_second: Math.round(rateOf(summary)),
    verdicts: tally.verdicts.map(({ verdict, where, packets }) => ({
      verdict,
      ...(where === null ? {} : { where }),
      packets,
    })),
    not_modelled: tally.unmodelled,
    nat: natRules(summary).map(({ ref, packets, translations }) => ({ ...place(ref), packets, translations })),
    nat_others: tally.natOthers,
    hottest: hottest(counters).map(({ ref, packets, bytes }) => ({ ...place(ref), packets, bytes })),
    policies: policies(counters).map(({ ref, packets, bytes }) => ({ ...place(ref), packets, bytes })),
    least_hit: leastHit(counters),
    never: neverHit(summary.ruleset, counters).map(({ ref, reason }) => ({ ...place(ref), reason })),
    ...(summary.flows === null ? {} : { connections: summary.flows }),
    checked: summary.checked,
    disagreements: summary.disagreements,
    ...(summary.assumed === undefined ? {} : { assumed: summary.assumed }),
  };
}

/** Rules that translated, hottest first, each with what it made of what. */
function natRules({ tally, origins }: Summary): readonly NatRule[] {
  const byRule = new Map<string, Tally["nat"][number][]>();
  for (const entry of tally.nat) {
    const name = nameOfRule(entry.rule);
    byRule.set(name, [...(byRule.get(name) ?? []), entry]);
  }
  const rules = [...byRule.values()].map((entries) => {
    const sorted = entries.toSorted((a, b) => b.packets - a.packets || a.address - b.address || a.port - b.port);
    const named = sorted.slice(0, NAMED_TRANSLATIONS).map(({ rule, address, port, packets }) => ({
      from: origins.of(rule, address, port) || "(not sampled)",
      to: formatAddress(address) + (port === 0 ? "" : `:${port}`),
      packets,
    }));
    const others = sum(sorted.slice(NAMED_TRANSLATIONS));
    if (others > 0) named.push({ from: "others", to: `${sorted.length - NAMED_TRANSLATIONS} more`, packets: others });
    return { ref: sorted[0]!.rule, packets: sum(entries), translations: named };
  });
  return rules.sort((a, b) => b.packets - a.packets || nameOfRule(a.ref).localeCompare(nameOfRule(b.ref)));
}

function sum(entries: readonly { readonly packets: number }[]): number {
  return entries.reduce((total, { packets }) => total + packets, 0);
}

function hottest(counters: readonly RuleCounter[]): readonly RuleCounter[] {
  const rules = counters.filter(({ ref, packets }) => ref.number !== "policy" && packets > 0);
  return rules.sort((a, b) => b.packets - a.packets).slice(0, HOTTEST);
}

/** How often the rule was hit that was hit least often, of those that were; 0: none was. */
function leastHit(counters: readonly RuleCounter[]): number {
  const hit = counters.filter(({ ref, packets }) => ref.number !== "policy" && packets > 0);
  return hit.reduce((least, { packets }) => Math.min(least, packets), hit[0]?.packets ?? 0);
}

/** Policies that were reached. */
function policies(counters: readonly RuleCounter[]): readonly RuleCounter[] {
  return counters
    .filter(({ ref, packets }) => ref.number === "policy" && packets > 0)
    .sort((a, b) => b.packets - a.packets);
}

function placeOf(ref: RuleRef, places: Places): object {
  const { table, chain, number } = ref;
  const rule = places.ruleOf(ref);
  if (rule === null) return { table, chain, policy: places.specOf(ref) };
  const { file, line } = rule.position;
  return { table, chain, rule: number, file, line, text: rule.text.trim() };
}

function ruleText(ref: RuleRef, places: Places): string {
  return [nameOfRule(ref), places.placeOf(ref), places.textOf(ref)].join("  ");
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
