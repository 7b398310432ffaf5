// bench: how fast one chain or one ClassBench filter set is classified, and what each packet's answer was.
//
// One operation is one pass over all packets, in order. The engine's answers are overwritten before each pass with a value
// that none can have, so that what is printed is what the last pass wrote.

import { cpus } from "node:os";
import type { Command } from "commander";
import { remembers } from "../compile/program.ts";
import type { Program } from "../compile/program.ts";
import type { Batch } from "../engine/batch.ts";
import { benchChain, benchClassbench } from "../firewall.ts";
import type { Host } from "../host/host.ts";
import { NONE } from "../layout.ts";
import { isClassbench, parseClassbench } from "../rules/classbench.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import { chainNamed, refuseForFilterSet } from "./chains.ts";
import { UsageError } from "./errors.ts";
import { readText, refuseSharedInput, writeText } from "./files.ts";
import { loadHost } from "./hosts.ts";
import { Crew, UNWRITTEN } from "./crew.ts";
import { Interrupt } from "./interrupt.ts";
import { grouped, whole } from "./numbers.ts";
import { Progress } from "./progress.ts";
import { addAskedRules, parseTexts, readRules, rulePaths } from "./rulesets.ts";
import type { AskedRulesOptions } from "./rulesets.ts";
import { drawTrace, parseTrace } from "./trace.ts";

interface BenchOptions extends AskedRulesOptions {
  readonly trace?: string;
  readonly packets?: number;
  readonly chain?: string;
  readonly host?: string;
  readonly seed: number;
  readonly runs: number;
  readonly threads: number;
  readonly json?: true;
  readonly out?: string;
}

const MOST_THREADS = 64;
const DEFAULT_CHAIN = "filter:FORWARD";
const DEFAULT_PACKETS = 1_000_000;
/** Passes before the timed ones take at least so long: V8 compiles what runs hot meanwhile. */
const WARM_UP_MS = 300;

const EXAMPLES = `
Examples:
  verdictree bench rules.v4 --chain filter:FORWARD --packets 1000000
  verdictree bench acl1_1k.rules.gz --trace acl1_1k.trace.gz --json --out answers.txt`;

export function registerBench(program: Command): void {
  const command = program
    .command("bench")
    .description(
      "How fast one chain, or a ClassBench filter set, is classified: packets a second of classification alone.",
    );
  addAskedRules(command)
    .option("--trace <FILE>", "packets, a line each: src dst sport dport proto, in decimal numbers")
    .option(
      "--packets <N>",
      `so many packets of the trace, or drawn (default: ${grouped(DEFAULT_PACKETS)})`,
      whole(1, 2 ** 25),
    )
    .option("--chain <TABLE:CHAIN>", `the built-in chain that is asked (default: ${DEFAULT_CHAIN})`)
    .option("--host <HOST.json>", "whose interfaces and addresses the chain's rules ask")
    .option("--seed <N>", "of drawn packets", whole(0, 0xffffffff), 1)
    .option("--runs <N>", "timed passes over the packets", whole(1, 1000), 9)
    .option("--threads <N>", "threads that share the packets, each with a copy of the tree", whole(1, MOST_THREADS), 1)
    .option("--json", "one JSON object")
    .option(
      "--out <FILE>",
      "write the answer to each packet, a line each: of a filter set the number of the rule, 0 for none",
    )
    .addHelpText("after", EXAMPLES)
    .action(async (rules: string | undefined, options: BenchOptions) => {
      process.exitCode = await bench(rules, options);
    });
}

/** What is timed. */
interface Subject {
  readonly batch: Batch;
  readonly rules: number;
  readonly buildMs: number;
  /** The line of --out for an answer. */
  readonly lineOf: (answer: number) => string;
}

/** The exit code: 130 after ^C. */
async function bench(positional: string | undefined, options: BenchOptions): Promise<number> {
  refuseSharedInput([...rulePaths(positional, options), options.trace, options.host]);
  const texts = await readRules(positional, options);
  const [only] = texts;
  const trace = options.trace === undefined ? null : await readText(options.trace);
  const host = options.host === undefined ? null : await loadHost(options.host);
  const subject =
    texts.length === 1 && isClassbench(only!.text)
      ? filterSet(only!.text, only!.file, trace, options)
      : chainOf(await parseTexts(texts, options), host, trace, options);

  refuseMemory(subject.batch.program, options.threads);
  const crew = new Crew(subject.batch, subject.batch.records().slice(), options.threads);
  const { mpps, interrupted } = await measured(crew, subject, options);
  mpps.sort((a, b) => a - b);
  if (mpps.length > 0) report(subject, crew.count, mpps, options);
  return interrupted ? 130 : 0;
}

function filterSet(text: string, file: string, trace: string | null, options: BenchOptions): Subject {
  refuseForFilterSet(options);
  const rules = parseClassbench(text, file);
  const began = performance.now();
  const batch = benchClassbench(rules);
  const buildMs = performance.now() - began;
  batch.load(
    trace === null
      ? drawTrace(rules, options.packets ?? DEFAULT_PACKETS, options.seed)
      : parseTrace(trace, options.trace!, options.packets ?? Infinity),
  );
  return { batch, rules: rules.length, buildMs, lineOf: (answer) => (answer === NONE ? "0" : String(answer + 1)) };
}

function chainOf(ruleset: Ruleset, host: Host | null, trace: string | null, options: BenchOptions): Subject {
  const { table, hook } = chainNamed(options.chain ?? DEFAULT_CHAIN, ruleset);
  const began = performance.now();
  const { batch, rules, draw } = benchChain(ruleset, table, hook, { host, seed: options.seed });
  const buildMs = performance.now() - began;
  if (trace === null) draw(options.packets ?? DEFAULT_PACKETS, { seed: options.seed });
  else batch.load(parseTrace(trace, options.trace!, options.packets ?? Infinity));
  const lineOf = (answer: number): string => {
    const { chain, number } = rules.refOf(batch.ruleOf(answer));
    return `${chain}:${number}`;
  };
  return { batch, rules: rules.ruleCount, buildMs, lineOf };
}

/** What rules remember hangs on the order of packets, which several threads do not keep. */
function refuseMemory(program: Program, threads: number): void {
  if (threads === 1) return;
  const all = [program, ...program.subs].flatMap(({ clauses }) => clauses);
  if (all.some(({ tests }) => tests.some(remembers))) {
    throw new UsageError(
      "--threads: some rule remembers what came before, or draws lots; such a chain takes one thread",
    );
  }
}

interface Measured {
  /** Millions of packets a second of each timed pass. */
  readonly mpps: number[];
  readonly interrupted: boolean;
}

/** Measures, writes the answers if they are asked for, and ends the threads whatever happens. */
async function measured(crew: Crew, { lineOf }: Subject, options: BenchOptions): Promise<Measured> {
  try {
    const result = await measure(crew, options);
    // first what may fail: behind a result on stdout there is no exit 2
    if (options.out !== undefined && !result.interrupted) {
      writeText(options.out, `${Array.from(crew.answers(), lineOf).join("\n")}\n`);
    }
    return result;
  } finally {
    await crew.end();
  }
}

async function measure(crew: Crew, { runs, quiet }: BenchOptions): Promise<Measured> {
  const pass = (): number => {
    const ms = crew.pass();
    if (crew.answers().includes(UNWRITTEN)) throw new Error("a packet was left without an answer");
    return ms;
  };
  await crew.ready();
  const progress = new Progress("passes", runs, quiet !== undefined);
  const interrupt = new Interrupt();
  const mpps: number[] = [];
  try {
    for (let warm = 0; warm < WARM_UP_MS && !(await interrupt.pressed());) warm += pass();
    while (mpps.length < runs && !(await interrupt.pressed())) {
      mpps.push(crew.count / 1000 / pass());
      progress.update(mpps.length);
    }
    return { mpps, interrupted: await interrupt.pressed() };
  } finally {
    progress.stop();
    interrupt.release();
  }
}

/** @param mpps sorted */
function report(
  { batch, rules, buildMs }: Subject,
  packets: number,
  mpps: readonly number[],
  options: BenchOptions,
): void {
  const { program } = batch;
  const result = {
    rules,
    clauses: [program, ...program.subs].reduce((sum, { clauses }) => sum + clauses.length, 0),
    build_ms: round(buildMs),
    tree_bytes: batch.treeBytes,
    memory_bytes: batch.memoryBytes,
    packets,
    threads: options.threads,
    mpps: { median: round(median(mpps)), min: round(mpps[0]!), max: round(mpps.at(-1)!) },
    runs: mpps.length,
    node: process.version,
    cpu: cpus()[0]?.model ?? "unknown",
    ...(options.assume === undefined ? {} : { assumed: options.assume }),
  };
  const { tree_bytes: tree, memory_bytes: memory } = result;
  process.stdout.write(
    options.json !== undefined
      ? `${JSON.stringify(result)}\n`
      : `${result.mpps.median} million packets/s (${result.mpps.min} to ${result.mpps.max} in ${mpps.length} passes over ` +
          `${grouped(packets)} packets, ${options.threads === 1 ? "one thread" : `${options.threads} threads`})\n` +
          `${grouped(rules)} rules, ${grouped(result.clauses)} clauses, built in ${result.build_ms} ms; ` +
          `tree ${grouped(tree)} bytes, memory ${grouped(memory)} bytes\n` +
          `node ${result.node}, ${result.cpu}\n`,
  );
}

function median(sorted: readonly number[]): number {
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
