// explain: the whole way of one packet, rule by rule, and why rules on it did not match.

import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { toAnswer } from "../classifier.ts";
import type { RuleRef } from "../classifier.ts";
import { explainPacket, whyNot } from "../explain/explain.ts";
import type { ChainVisit, Explanation, Seen, Step } from "../explain/explain.ts";
import { regionWords, sureRegion } from "../explain/region.ts";
import { traceLines } from "../explain/tracelines.ts";
import type { Host } from "../host/host.ts";
import { formatAddress } from "../net/address.ts";
import { isSkipped, parseArrival } from "../packet/line.ts";
import type { Arrival, Packet } from "../packet/packet.ts";
import { TABLES } from "../rules/ruleset.ts";
import { BACKENDS } from "./engine.ts";
import type { Backend } from "./engine.ts";
import { UsageError } from "./errors.ts";
import { nameOf, readText, refuseSharedInput } from "./files.ts";
import { loadHost } from "./hosts.ts";
import { packetLineOf } from "./packettext.ts";
import { nameOfRule, Places } from "./places.ts";
import { addAskedRules, loadRuleset, rulePaths } from "./rulesets.ts";
import type { AskedRulesOptions } from "./rulesets.ts";
import { answerForPeople, ruleText } from "./wording.ts";

interface ExplainCommandOptions extends AskedRulesOptions {
  readonly host?: string;
  readonly packet?: string;
  readonly before?: string;
  readonly whyNot?: RuleRef;
  readonly backend: Backend;
  readonly format?: "text" | "trace";
  readonly json?: true;
}

const EXAMPLES = `
A packet is a JSON line as for run, or: PROTO SRC[:PORT] > DST[:PORT] KEY=VALUE... with the keys of such lines.

Examples:
  verdictree explain rules.txt --host host.json --packet 'tcp 203.0.113.9:40000 > 192.0.2.10:443 in=eth0 flags=SYN'
  verdictree explain rules.txt --host host.json --packet '...' --why-not filter:DOCKER:2`;

export function registerExplain(program: Command): void {
  const command = program
    .command("explain")
    .description(
      "The way of one packet: every chain, the rules that matched, why others did not, and what NAT made of it.",
    );
  addAskedRules(command)
    .option("--host <HOST.json>", "interfaces, addresses, routes and sysctls of the host")
    .option("--packet <PACKET>", "the packet")
    .option("--before <FILE>", "packets that came before it, a JSON object a line")
    .option("--why-not <[TABLE:]CHAIN:N>", "why this rule did not match", readRule)
    .addOption(new Option("--backend <NAME>", "which iptables").choices(BACKENDS).default("legacy"))
    .addOption(
      new Option("--format <NAME>", "trace: lines as the kernel writes them for TRACE").choices(["text", "trace"]),
    )
    .option("--json", "one JSON object")
    .addHelpText("after", EXAMPLES)
    .action(async (rules: string | undefined, options: ExplainCommandOptions) => {
      await explain(rules, options);
    });
}

function readRule(text: string): RuleRef {
  const words = text.split(":");
  const table = words.length === 3 ? TABLES.find((name) => name === words[0]) : "filter";
  const [chain, number] = words.slice(-2);
  if (words.length < 2 || words.length > 3 || table === undefined || !/^[1-9]\d*$/.test(number!)) {
    throw new InvalidArgumentError(`"${text}" is no rule: [TABLE:]CHAIN:NUMBER is wanted, such as nat:DOCKER:2.`);
  }
  return { table, chain: chain!, number: Number(number) };
}

async function explain(rules: string | undefined, options: ExplainCommandOptions): Promise<void> {
  if (options.host === undefined)
    throw new UsageError("explain needs --host HOST.json: without a host a packet has no way to go");
  if (options.packet === undefined) throw new UsageError("explain needs --packet: what to explain");
  if (options.json !== undefined && options.format !== undefined)
    throw new UsageError("--json and --format say how to answer: one of them is wanted");
  refuseSharedInput([...rulePaths(rules, options), options.host, options.before]);
  const ruleset = await loadRuleset(rules, options);
  const host = await loadHost(options.host);
  const places = new Places(ruleset);
  if (options.whyNot !== undefined) assertRule(places, options.whyNot);
  const before = options.before === undefined ? [] : await readBefore(options.before, host);
  const last = before.at(-1);
  const arrival = parseArrival(packetLineOf(options.packet), "--packet", 1, host, {
    packets: before.length,
    time: last?.time ?? 0,
  });
  const explanation = explainPacket(ruleset, host, arrival, { backend: options.backend, before });
  const region = regionWords(sureRegion(explanation, arrival, ruleset, host));
  const said = options.whyNot === undefined ? null : whyNot(explanation, options.whyNot);
  if (options.json !== undefined) {
    const { outcome, trace } = explanation;
    const traces = { trace, generated: [], printed: (ref: RuleRef): string => places.specOf(ref) };
    const chains = explanation.chains.map((visit) => chainForMachines(visit, places));
    const answer = toAnswer(arrival, outcome, { traces });
    const why =
      said === null ? {} : { why_not: said.asked.concat(said.instead).map((step) => stepForMachines(step, places)) };
    process.stdout.write(`${JSON.stringify({ ...answer, chains, region, ...why })}\n`);
  } else if (options.format === "trace") process.stdout.write(traceLines(explanation));
  else if (options.whyNot !== undefined) process.stdout.write(whyForPeople(options.whyNot, said!, places));
  else process.stdout.write(forPeople(explanation, arrival, region, places));
}

function assertRule(places: Places, ref: RuleRef): void {
  const chain = places.has(ref) ? places.chainOf(ref.table, ref.chain) : null;
  if (chain?.rules[(ref.number as number) - 1] === undefined)
    throw new UsageError(`there is no rule ${nameOfRule(ref)}`);
}

async function readBefore(path: string, host: Host): Promise<readonly Arrival[]> {
  const arrivals: Arrival[] = [];
  (await readText(path)).split("\n").forEach((line, index) => {
    if (isSkipped(line)) return;
    const time = arrivals.at(-1)?.time ?? 0;
    arrivals.push(parseArrival(line, nameOf(path), index + 1, host, { packets: arrivals.length, time }));
  });
  return arrivals;
}

function forPeople(
  { chains, outcome, trace }: Explanation,
  arrival: Arrival,
  region: ReturnType<typeof regionWords>,
  places: Places,
): string {
  const lines: string[] = [];
  let seen: Seen | null = null;
  for (const visit of chains) {
    if (visit.own) {
      const changes = seen === null ? "" : changed(seen, visit.seen);
      if (changes !== "") lines.push(`  ${changes}`);
      seen = visit.seen;
    }
    lines.push(
      `${visit.table} ${visit.chain}${visit.own ? "" : " (of a packet that the host made)"}: ${headerText(visit.seen)}`,
    );
    lines.push(...chainLines(visit, places));
  }
  const answer = { outcome, trace, generatedTrace: [], connections: [] };
  const words = Object.entries(region).map(([name, values]) => `${name}=${values.join(",")}`);
  lines.push(answerForPeople(arrival, answer, places, false).trimEnd());
  lines.push(`The same way go, at the least: ${words.join(" ")}`);
  return lines.join("\n") + "\n";
}

function chainLines({ steps, end }: ChainVisit, places: Places): string[] {
  const lines: string[] = [];
  let folded: Step[] = [];
  const unfold = (): void => {
    const reasons = new Map<string, number>();
    for (const { failed } of folded) reasons.set(failed, (reasons.get(failed) ?? 0) + 1);
    const words = [...reasons]
      .slice(0, MOST_REASONS)
      .map(([reason, times]) => (times === 1 ? reason : `${reason} (${times})`));
    if (reasons.size > MOST_REASONS) words.push("...");
    const first = folded[0]?.ref.number;
    const last = folded.at(-1)?.ref.number;
    if (folded.length > 0)
      lines.push(
        `    - ${folded[0]!.ref.chain}:${first === last ? first : `${first}-${last}`} not: ${words.join("; ")}`,
      );
    folded = [];
  };
  for (const step of steps) {
    if (step.kind === "failed" && (folded.length === 0 || folded[0]!.ref.chain === step.ref.chain)) {
      folded.push(step);
      continue;
    }
    unfold();
    if (step.kind === "failed") folded.push(step);
    else if (step.kind === "end") lines.push(`    . end of ${step.ref.chain}`);
    else
      lines.push(
        `    + ${ruleText(step.ref, places)}${step.kind === "dropped" ? `  (dropped by ${step.failed})` : ""}`,
      );
  }
  unfold();
  if (end.ref.number === "policy") lines.push(`    = ${ruleText(end.ref, places)}`);
  return lines;
}

const MOST_REASONS = 4;

function headerText({ packet, mark, inIface, outIface, ctState }: Seen): string {
  const ends = `${endText(packet, packet.src, packet.sport)} > ${endText(packet, packet.dst, packet.dport)}`;
  const ifaces = `${inIface === null ? "" : ` in ${inIface}`}${outIface === null ? "" : ` out ${outIface}`}`;
  return `${ends}${ifaces} ttl ${packet.ttl} ${ctState}${mark === 0 ? "" : ` mark 0x${mark.toString(16)}`}`;
}

function endText({ sport, dport }: Packet, address: number, port: number): string {
  return formatAddress(address) + (sport !== 0 || dport !== 0 ? `:${port}` : "");
}

/** What NAT, or a target, has changed since the chain before. */
function changed(before: Seen, after: Seen): string {
  const end = ({ packet }: Seen, side: "src" | "dst"): string =>
    side === "src" ? endText(packet, packet.src, packet.sport) : endText(packet, packet.dst, packet.dport);
  const words = (["src", "dst"] as const)
    .filter((side) => end(before, side) !== end(after, side))
    .map((side) => `${side === "src" ? "source" : "destination"} ${end(before, side)} becomes ${end(after, side)}`);
  if (before.outIface === null && after.outIface !== null) words.push(`routed out by ${after.outIface}`);
  return words.length === 0 ? "" : `* ${words.join(", ")}`;
}

function whyForPeople(ref: RuleRef, { asked, instead }: ReturnType<typeof whyNot>, places: Places): string {
  const lines = [ruleText(ref, places)];
  for (const { kind, failed, seen } of asked) {
    const how =
      kind === "matched"
        ? "it matched"
        : kind === "dropped"
          ? `it dropped the packet by ${failed}`
          : `it failed at ${failed}`;
    lines.push(`  ${how}: ${headerText(seen)}`);
  }
  if (asked.length === 0) {
    lines.push("  it was not reached");
    if (instead.length === 0) lines.push(`  no packet came into a rule of ${ref.table}`);
    for (const step of instead) lines.push(`  before it: ${ruleText(step.ref, places)}`);
  }
  return lines.join("\n") + "\n";
}

function chainForMachines({ table, chain, own, seen, steps, end }: ChainVisit, places: Places): object {
  const { rule } = refForMachines(end.ref);
  return {
    ...{ table, chain, own, packet: seenForMachines(seen) },
    steps: steps.map((step) => stepForMachines(step, places)),
    end: { rule, target: end.target },
  };
}

function stepForMachines({ ref, kind, failed }: Step, places: Places): object {
  if (kind === "end") return { result: kind, chain: ref.chain };
  const rule = places.ruleOf(ref)!;
  const { file, line } = rule.position;
  return {
    ...refForMachines(ref),
    result: kind,
    ...(failed === "" ? {} : { failed }),
    file,
    line,
    text: rule.text.trim(),
  };
}

function refForMachines({ chain, number }: RuleRef): { readonly rule: string } {
  return { rule: `${chain}:${number}` };
}

function seenForMachines({ packet, mark, inIface, outIface, ctState }: Seen): object {
  const { src, dst, sport, dport, ttl } = packet;
  return {
    ...{ src: formatAddress(src), dst: formatAddress(dst), sport, dport, ttl, mark },
    ...{ in: inIface, out: outIface, ct_state: ctState },
  };
}
