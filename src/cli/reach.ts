// reach: which packets from outside, as they are sent, end at a place; exit 0, or 3 if that could not be told.

import type { Command } from "commander";
import type { FinalPacket } from "../classifier.ts";
import { reach } from "../diff/arrivals.ts";
import type { Reaching } from "../diff/arrivals.ts";
import { DEFAULT_BUDGET } from "../diff/diff.ts";
import type { Place } from "../diff/toward.ts";
import type { Host } from "../host/host.ts";
import { formatAddress, parseAddress } from "../net/address.ts";
import { parseProtocol } from "../net/protocol.ts";
import { UsageError } from "./errors.ts";
import { refuseSharedInput } from "./files.ts";
import { loadHost } from "./hosts.ts";
import { Interrupt } from "./interrupt.ts";
import { whole } from "./numbers.ts";
import { addAskedRules, loadRuleset, rulePaths } from "./rulesets.ts";
import type { AskedRulesOptions } from "./rulesets.ts";

interface ReachCommandOptions extends AskedRulesOptions {
  readonly host?: string;
  readonly budget: number;
  readonly json?: true;
}

const EXAMPLES = `
PLACE is KEY=VALUE with blanks between: dst=ADDRESS[/LENGTH] dport=PORT[-PORT][,...] proto=NAME, as packets leave the host
or are delivered, and in=INTERFACE[,...] by which they come; without it by every one but lo.
Told are whole packets of tcp, udp and icmp which are the first of their connection, of 40 bytes at least, and no longer
than the smallest MTU.
Regions are disjoint; in one, a field that is not named is free.

Examples:
  verdictree reach rules.txt --host host.json 'dst=172.17.0.2 dport=80 proto=tcp'
  verdictree reach rules.txt --host host.json 'dst=10.0.0.0/8 in=eth0' --json`;

export function registerReach(program: Command): void {
  const command = program
    .command("reach")
    .description("Which packets from outside, as they are sent, end at a place: rules, routing and NAT together.");
  addAskedRules(command)
    .argument("[PLACE]", "where they are to end, such as 'dst=172.17.0.2 dport=80 proto=tcp'")
    .option("--host <HOST.json>", "interfaces, addresses, routes and sysctls of the host")
    .option(
      "--budget <NODES>",
      "nodes of decision diagrams before it is given up",
      whole(1_000, 60_000_000),
      DEFAULT_BUDGET.nodes,
    )
    .option("--json", "a JSON object for each region")
    .addHelpText("after", EXAMPLES)
    .action(async (rules: string | undefined, place: string | undefined, options: ReachCommandOptions) => {
      // with --rules there is no RULES in front
      const only = options.rules !== undefined && place === undefined;
      process.exitCode = await reachPlace(only ? undefined : rules, only ? rules : place, options);
    });
}

async function reachPlace(
  rules: string | undefined,
  text: string | undefined,
  options: ReachCommandOptions,
): Promise<number> {
  if (text === undefined) throw new UsageError("reach needs a place, such as 'dst=172.17.0.2 dport=80 proto=tcp'");
  if (options.host === undefined)
    throw new UsageError("reach needs --host HOST.json: without a host a packet has no way to go");
  refuseSharedInput([...rulePaths(rules, options), options.host]);
  const ruleset = await loadRuleset(rules, options);
  const host = await loadHost(options.host);
  const place = placeOf(text, host);
  const interrupt = new Interrupt();
  let regions = 0;
  let undecided = false;
  try {
    const budget = { ...DEFAULT_BUDGET, nodes: options.budget };
    for await (const each of reach(place, ruleset, host, { budget, signal: interrupt.signal })) {
      if (each.found === "undecided") {
        undecided = true;
        const { reason } = each;
        process.stdout.write(
          options.json === undefined ? `undecided: ${reason}\n` : `${JSON.stringify({ undecided: reason })}\n`,
        );
      } else {
        regions++;
        process.stdout.write(options.json === undefined ? forPeople(each) : forMachines(each));
      }
    }
  } finally {
    interrupt.release();
  }
  if (interrupt.signal.aborted) return 130;
  if (undecided) return 3;
  if (options.json === undefined)
    process.stdout.write(
      regions === 0
        ? "no packet of 40 bytes or more ends there\n"
        : `${regions} region${regions === 1 ? "" : "s"}, and nothing else\n`,
    );
  return 0;
}

function placeOf(text: string, host: Host): Place {
  const words = text.split(/\s+/).filter((word) => word !== "");
  const said = new Map<string, string>();
  for (const word of words) {
    const [, key = "", value = ""] = /^(dst|dport|proto|in)=(.+)$/.exec(word) ?? [];
    if (key === "") throw new UsageError(`"${word}" is none of dst=, dport=, proto= and in=`);
    if (said.has(key)) throw new UsageError(`a second ${key}= in the place`);
    said.set(key, value);
  }
  const [dst, dport, proto, ifaces] = ["dst", "dport", "proto", "in"].map((key) => said.get(key));
  return {
    ...(dst === undefined ? {} : { dst: [networkOf(dst)] }),
    ...(dport === undefined ? {} : { dport: dport.split(",").map(portsOf) }),
    ...(proto === undefined ? {} : { proto: protocolOf(proto) }),
    ...(ifaces === undefined ? {} : { in: ifaces.split(",").map((name) => ifaceOf(name, host)) }),
  };
}

function networkOf(text: string): readonly [number, number] {
  const [, name = "", length = "32"] = /^([\d.]+)(?:\/(\d{1,2}))?$/.exec(text) ?? [];
  const address = parseAddress(name);
  const size = 2 ** (32 - Number(length));
  if (address === null || size < 1 || address % size !== 0)
    throw new UsageError(`dst=${text}: that is no address and no network`);
  return [address, address + size - 1];
}

const HIGHEST_PORT = 0xffff;

function portsOf(text: string): readonly [number, number] {
  const [, lo, hi = lo] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? [];
  if (lo === undefined || Number(lo) > Number(hi) || Number(hi) > HIGHEST_PORT)
    throw new UsageError(`dport=${text}: that is no port and no range of ports`);
  return [Number(lo), Number(hi)];
}

function protocolOf(text: string): number {
  const proto = parseProtocol(text);
  if (proto === null || !["tcp", "udp", "icmp"].includes(text))
    throw new UsageError(`proto=${text}: tcp, udp or icmp is wanted`);
  return proto;
}

function ifaceOf(name: string, { interfaces }: Host): string {
  if (name === "lo" || !interfaces.some((one) => one.name === name))
    throw new UsageError(`in=${name}: the host has no such interface to the outside`);
  return name;
}

const MOST_WORDS = 12;

function forPeople({ region, guards, witness, outcome }: Reaching): string {
  const fields = Object.entries(region).map(([name, values]) => `${name}=${shortened(values)}`);
  const said = guards.map(({ guard, holds }) => `${holds ? "" : "not "}(${guard})`);
  const became =
    outcome === null
      ? ""
      : `, ${outcome.verdict} by ${outcome.iface} to ${formatAddress(outcome.packet.dst)}${portOf(outcome.packet)}`;
  return `${[...fields, ...said].join(" ") || "everything"}\n    such as ${JSON.stringify(witness)}${became}\n`;
}

/** Nothing where the protocol has none. */
function portOf({ sport, dport }: FinalPacket): string {
  return sport === 0 && dport === 0 ? "" : `:${dport}`;
}

function shortened(values: readonly string[]): string {
  if (values.length <= MOST_WORDS) return values.join(",");
  return `${values.slice(0, MOST_WORDS).join(",")},... (${values.length})`;
}

function forMachines({ region, guards, witness, outcome }: Reaching): string {
  const became =
    outcome === null
      ? {}
      : {
          ...{ verdict: outcome.verdict, iface: outcome.iface },
          ...{ dst: formatAddress(outcome.packet.dst), dport: outcome.packet.dport },
        };
  return `${JSON.stringify({ region, ...(guards.length === 0 ? {} : { guards }), witness, ...became })}\n`;
}
