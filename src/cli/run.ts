// run: rules, a host and packets -> what becomes of each, or what millions of synthetic ones count.

import { Option } from "commander";
import type { Command } from "commander";
import { TRAFFIC_KINDS } from "../traffic/traffic.ts";
import type { TrafficKind } from "../traffic/traffic.ts";
import { BACKENDS, ENGINES } from "./engine.ts";
import type { Backend, EngineName } from "./engine.ts";
import { answerPackets } from "./answers.ts";
import { UsageError } from "./errors.ts";
import { refuseSharedInput } from "./files.ts";
import { loadHost } from "./hosts.ts";
import { MOST_PACKETS, whole } from "./numbers.ts";
import { addAskedRules, loadRuleset, rulePaths } from "./rulesets.ts";
import type { AskedRulesOptions } from "./rulesets.ts";
import { streamSynthetic } from "./synthetic.ts";

export interface RunOptions extends AskedRulesOptions {
  readonly host?: string;
  readonly packets?: string;
  readonly stateless?: true;
  readonly trace?: true;
  readonly conntrack?: true;
  readonly backend: Backend;
  readonly start?: number;
  readonly engine?: EngineName;
  readonly synthetic?: number;
  readonly threads?: number;
  readonly traffic?: TrafficKind;
  readonly flows?: number;
  readonly seed: number;
  readonly json?: true;
  readonly counters?: true;
}

const MOST_THREADS = 64;

const EXAMPLES = `
Examples:
  verdictree run rules.txt --host host.json --packets packets.jsonl --stateless
  verdictree run --rules filter.txt --rules nat=nat.txt --host host.json --packets - --json < packets.jsonl
  verdictree run rules.txt --host host.json --synthetic 5000000
  verdictree run rules.txt --host host.json --synthetic 50000000 --traffic flows --flows 1000000`;

export function registerRun(program: Command): void {
  const command = program
    .command("run")
    .description(
      "Sends packets the whole way of the kernel through the rules of a host, and says what became of each.",
    );
  addAskedRules(command)
    .option("--host <HOST.json>", "interfaces, addresses, routes and sysctls of the host")
    .option("--packets <FILE>", "packets to answer, a JSON object a line; - is standard input")
    .option("--stateless", "each packet is the first of its flow")
    .option("--trace", "with the rules and policies that each packet met")
    .option("--conntrack", "with the connections that each packet made, changed or ended")
    .option("--start <SECONDS>", "where the packets' clock starts (default: 0)", whole(0, 2 ** 40))
    .addOption(
      new Option(
        "--engine <NAME>",
        "who answers; both compares them (default: both for the first 100,000 packets, wasm for those behind)",
      ).choices(ENGINES),
    )
    .option("--synthetic <N>", "make N packets instead, and count", whole(1, MOST_PACKETS))
    .addOption(
      new Option("--traffic <KIND>", "of synthetic packets; flows: connections are followed (default: edges)").choices(
        TRAFFIC_KINDS,
      ),
    )
    .option(
      "--flows <N>",
      "connections alive at once, about, with --traffic flows (default: 100000)",
      whole(1, 2 ** 24),
    )
    .option("--seed <N>", "of synthetic packets, and of what the kernel draws by lot", whole(0, 0xffffffff), 1)
    .option(
      "--threads <N>",
      "threads that share synthetic packets; what they come to is the same (default: 1)",
      whole(1, MOST_THREADS),
    )
    .addOption(new Option("--backend <NAME>", "which iptables").choices(BACKENDS).default("legacy"))
    .option("--json", "answers for machines, a JSON object a line")
    .addOption(
      new Option("--counters", "the rules with their counters, as iptables-save -c prints them").conflicts([
        "json",
        "trace",
      ]),
    )
    .addHelpText("after", EXAMPLES)
    .action(async (rules: string | undefined, options: RunOptions) => {
      process.exitCode = await run(rules, options);
    });
}

async function run(rules: string | undefined, options: RunOptions): Promise<number> {
  if ((options.packets === undefined) === (options.synthetic === undefined)) {
    throw new UsageError("run needs either --packets FILE or --synthetic N");
  }
  if (options.host === undefined) {
    throw new UsageError("run needs --host HOST.json: without a host a packet has no way to go");
  }
  refuseSharedInput([...rulePaths(rules, options), options.host, options.packets]);
  refuseForeignOptions(options);
  if (options.flows !== undefined && options.traffic !== "flows") {
    throw new UsageError("--flows has no meaning without --traffic flows");
  }

  const ruleset = await loadRuleset(rules, options);
  const host = await loadHost(options.host);
  return options.packets === undefined
    ? streamSynthetic(ruleset, host, { threads: 1, ...options, packets: options.synthetic! })
    : answerPackets(ruleset, host, { ...options, packets: options.packets });
}

/** An option that the other form of the command alone knows would silently do nothing. */
function refuseForeignOptions(options: RunOptions): void {
  const foreign =
    options.packets === undefined
      ? (["stateless", "trace", "conntrack", "start", "engine"] as const)
      : (["traffic", "flows", "threads"] as const);
  for (const name of foreign) {
    if (options[name] !== undefined) {
      throw new UsageError(
        `--${name} has no meaning with ${options.packets === undefined ? "--synthetic" : "--packets"}`,
      );
    }
  }
}
