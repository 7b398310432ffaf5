// fuzz: packets by the million through engine and reference, or through two rule sets, until they disagree.

import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { toAnswer } from "../classifier.ts";
import type { Answer } from "../firewall.ts";
import type { Host } from "../host/host.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import type { Finding } from "./contest.ts";
import { refuseSharedInput } from "./files.ts";
import { loadHost } from "./hosts.ts";
import { Interrupt } from "./interrupt.ts";
import { inventHost } from "./invented.ts";
import { grouped, MOST_PACKETS, positive, whole } from "./numbers.ts";
import { Places } from "./places.ts";
import { Progress } from "./progress.ts";
import { addAskedRules, loadRuleset, rulePaths } from "./rulesets.ts";
import type { AskedRulesOptions } from "./rulesets.ts";
import { searchInThreads } from "./searchers.ts";
import type { Searched } from "./searchers.ts";
import { answerForPeople } from "./wording.ts";

interface FuzzOptions extends AskedRulesOptions {
  readonly against?: string;
  readonly host?: string;
  readonly packets?: number;
  readonly minutes?: number;
  readonly seed: number;
  readonly threads: number;
  readonly json?: true;
}

const DEFAULT_PACKETS = 1_000_000;
const MOST_THREADS = 256;

const EXAMPLES = `
Examples:
  verdictree fuzz rules.txt --host host.json --packets 1000000
  verdictree fuzz old.v4 --against new.v4 --host host.json --minutes 5 --json`;

export function registerFuzz(program: Command): void {
  const command = program
    .command("fuzz")
    .description("Looks for a packet on which engine and reference, or two rule sets, disagree.");
  addAskedRules(command)
    .option("--against <OTHER>", "compare with these rules; otherwise the engine with the reference")
    .option("--host <HOST.json>", "the host (default: one with the interfaces that the rules name)")
    .option(
      "--packets <N>",
      `stop after so many packets (default: ${grouped(DEFAULT_PACKETS)})`,
      whole(1, MOST_PACKETS),
    )
    .option("--minutes <M>", "stop after so many minutes", positive(100_000))
    .option("--seed <N>", "of the packets, and of what the kernel draws by lot", whole(0, 0xffffffff), 1)
    .option("--threads <N>", "threads to use; what is found is the same", whole(1, MOST_THREADS), defaultThreads())
    .option("--json", "one JSON object")
    .addHelpText("after", EXAMPLES)
    .action(async (rules: string | undefined, options: FuzzOptions) => {
      process.exitCode = await fuzz(rules, options);
    });
}

/** One for each core, as far as more of them help. */
function defaultThreads(): number {
  return Math.min(16, availableParallelism());
}

/** The exit code: 1 if there was a disagreement, 130 after ^C. */
async function fuzz(rules: string | undefined, options: FuzzOptions): Promise<number> {
  // the sets are read for each side
  const others = options.against === undefined ? [] : rulePaths(options.against, { ...options, rules: [] });
  refuseSharedInput([...rulePaths(rules, options), ...others, options.host]);
  const left = await loadRuleset(rules, options);
  const right = options.against === undefined ? null : await loadRuleset(options.against, { ...options, rules: [] });
  const host = await hostOf(left, right, options);
  const wanted = options.packets ?? (options.minutes === undefined ? DEFAULT_PACKETS : MOST_PACKETS);
  const end = performance.now() + (options.minutes ?? Infinity) * 60_000;
  const progress = new Progress("packets", wanted, options.quiet !== undefined || wanted === MOST_PACKETS);
  const interrupt = new Interrupt();
  let searched: Searched;
  try {
    searched = await searchInThreads(
      { left, right, host, seed: options.seed },
      { packets: wanted, threads: options.threads },
      async () => (await interrupt.pressed()) || performance.now() >= end,
      (packets) => {
        progress.update(packets);
      },
    );
  } finally {
    progress.stop();
    interrupt.release();
  }
  const { packets, finding } = searched;

  process.stdout.write(options.json === undefined ? forPeople() : `${JSON.stringify(forMachines())}\n`);
  if (finding !== null) return 1;
  return interrupt.signal.aborted ? 130 : 0;

  function forMachines(): object {
    const { seed } = options;
    const assumed = options.assume === undefined ? {} : { assumed: options.assume };
    if (finding === null) return { packets, seed, equal: true, ...assumed };
    const answerOf = (answer: Answer, ruleset: Ruleset): object => {
      const places = new Places(ruleset);
      return toAnswer(finding.arrival, answer.outcome, {
        traces: { trace: answer.trace, generated: answer.generatedTrace, printed: (ref) => places.specOf(ref) },
      });
    };
    const { line, alone, confirmed } = finding;
    return {
      ...{ packets, seed, equal: false, ...assumed, packet: line },
      // said where it is not the usual
      ...(alone ? {} : { alone }),
      ...(right === null ? {} : { confirmed }),
      left: answerOf(finding.left, left),
      right: answerOf(finding.right, right ?? left),
    };
  }

  function forPeople(): string {
    const count = `${grouped(packets)} packets (seed ${options.seed})`;
    if (finding === null) return `${count}: no disagreement\n`;
    const names = right === null ? ["engine", "reference"] : ["RULES", "--against"];
    const told = (name: string, answer: Answer, ruleset: Ruleset): string =>
      `${name}:\n${answerForPeople(finding.arrival, answer, new Places(ruleset), true)}`;
    const before = finding.alone ? "" : ", but not when it comes first: rules remember or draw lots";
    return [
      `${count}: a disagreement on\n${JSON.stringify(finding.line)}${before}\n`,
      told(names[0]!, finding.left, left),
      told(names[1]!, finding.right, right ?? left),
      right === null ? "" : `${judgement(finding)}\n`,
    ].join("");
  }
}

function judgement({ alone, confirmed }: Finding): string {
  if (confirmed) return "The reference gives the same two answers.";
  if (!alone) return "The reference does not confirm it: the answers may hang on the packets before.";
  return "THE REFERENCE ANSWERS OTHERWISE: run fuzz on each of the rule sets alone; it should find a bug of verdictree.";
}

/** The given host, or one made up; then it is told, since the packets make sense there alone. */
async function hostOf(left: Ruleset, right: Ruleset | null, options: FuzzOptions): Promise<Host> {
  if (options.host !== undefined) return loadHost(options.host);
  const { host, text } = inventHost(right === null ? [left] : [left, right]);
  if (options.quiet === undefined) process.stderr.write(`note: no --host is given; this one is made up: ${text}\n`);
  return host;
}
