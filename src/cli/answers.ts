// run --packets: packet lines -> an answer for each, in order, as they come.

import { toAnswer } from "../classifier.ts";
import type { PrintedTrace } from "../classifier.ts";
import type { Answer } from "../firewall.ts";
import type { Host } from "../host/host.ts";
import { isSkipped, parseArrival } from "../packet/line.ts";
import type { Before } from "../packet/line.ts";
import type { Arrival } from "../packet/packet.ts";
import { UnsupportedError } from "../reference/error.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import { Comparison } from "./comparison.ts";
import { printCounters } from "./counts.ts";
import { describeDifference } from "./difference.ts";
import type { Backend, EngineName } from "./engine.ts";
import { UsageError } from "./errors.ts";
import { nameOf, readLines } from "./files.ts";
import type { Line } from "./files.ts";
import { Interrupt } from "./interrupt.ts";
import { Places } from "./places.ts";
import { answerForPeople } from "./wording.ts";

export interface AnswerOptions {
  readonly packets: string;
  readonly stateless?: true;
  readonly trace?: true;
  readonly conntrack?: true;
  readonly backend: Backend;
  readonly start?: number;
  readonly engine?: EngineName;
  readonly seed: number;
  readonly json?: true;
  readonly counters?: true;
  readonly quiet?: true;
}

/** The exit code: 1 if engine and reference differ, 130 after ^C. */
export async function answerPackets(ruleset: Ruleset, host: Host, options: AnswerOptions): Promise<number> {
  const run = new Run(ruleset, host, options);
  const interrupt = new Interrupt();
  try {
    for await (const lines of readLines(options.packets, interrupt.signal)) {
      const text = run.answer(lines);
      if (text !== "") process.stdout.write(text);
      if (run.difference !== null) {
        process.stderr.write(`${run.difference}\n`);
        return 1;
      }
      if (run.failure !== null) throw run.failure;
      if (await interrupt.pressed()) break;
    }
    const interrupted = await interrupt.pressed();
    if (run.packets === 0 && !interrupted) {
      throw new UsageError(`${nameOf(options.packets)}:1: there are no packets in it`);
    }
    if (options.counters !== undefined) process.stdout.write(run.counters());
    return interrupted ? 130 : 0;
  } finally {
    interrupt.release();
  }
}

/** A packet and the line where it stands. */
interface Asked {
  readonly arrival: Arrival;
  readonly line: number;
}

/** Reads and answers lines until something is wrong with one. */
class Run {
  /** What is wrong; null: nothing yet. */
  failure: Error | null = null;
  /** A packet on which engine and reference differ, told at length; null: none yet. */
  difference: string | null = null;

  readonly #file: string;
  readonly #ruleset: Ruleset;
  readonly #host: Host;
  readonly #options: AnswerOptions;
  readonly #comparison: Comparison;
  readonly #places: Places;
  #before: Before;

  constructor(ruleset: Ruleset, host: Host, options: AnswerOptions) {
    this.#file = nameOf(options.packets);
    this.#ruleset = ruleset;
    this.#host = host;
    this.#options = options;
    const { seed, backend } = options;
    const stateless = options.stateless !== undefined;
    const decide = { seed, backend, stateless, trace: options.trace !== undefined, limitErrors: true };
    this.#comparison = new Comparison(ruleset, host, {
      ...(options.engine === undefined ? {} : { engine: options.engine }),
      decide,
    });
    this.#places = new Places(ruleset);
    this.#before = { packets: 0, time: options.start ?? 0 };
  }

  /** Packets read so far. */
  get packets(): number {
    return this.#before.packets;
  }

  counters(): string {
    return printCounters(this.#ruleset, this.#comparison.counters());
  }

  /** What is to be written about the lines up to the first one with which something is wrong. */
  answer(lines: readonly Line[]): string {
    const asked = this.#read(lines);
    const { answers, failure, difference } = this.#comparison.answer(asked.map(({ arrival }) => arrival));
    let text = "";
    for (const [index, answer] of answers.entries()) {
      text += this.#told(asked[index]!.arrival, answer);
    }
    // the packet behind the last answer
    const next = asked[answers.length];
    if (difference !== null) {
      const told = describeDifference(next!.arrival, this.#host, difference.engine, difference.reference);
      this.difference = `${told}\n${this.#file}:${next!.line}: engine and reference differ`;
    }
    if (failure !== null) {
      // what is not modelled has its place; anything else is a bug and stays as it is
      const unsupported = failure instanceof UnsupportedError;
      this.failure = unsupported ? new UsageError(`${this.#file}:${next!.line}: ${failure.message}`) : failure;
    }
    return text;
  }

  /** The packets up to the first bad line. */
  #read(lines: readonly Line[]): readonly Asked[] {
    const asked: Asked[] = [];
    for (const { text, number } of lines) {
      if (isSkipped(text)) continue;
      try {
        const arrival = parseArrival(text, this.#file, number, this.#host, this.#before);
        this.#before = { packets: this.#before.packets + 1, time: arrival.time };
        asked.push({ arrival, line: number });
      } catch (error) {
        this.failure = error as Error;
        break;
      }
    }
    return asked;
  }

  #told(arrival: Arrival, answer: Answer): string {
    const { json, counters, trace, conntrack } = this.#options;
    if (counters !== undefined) return "";
    if (json === undefined) return answerForPeople(arrival, answer, this.#places, trace !== undefined);
    const { outcome, connections } = answer;
    const shown = {
      ...(trace === undefined ? {} : { traces: this.#traces(answer) }),
      ...(conntrack === undefined ? {} : { connections }),
    };
    return `${JSON.stringify(toAnswer(arrival, outcome, shown))}\n`;
  }

  #traces({ trace, generatedTrace }: Answer): PrintedTrace {
    return { trace, generated: generatedTrace, printed: (ref) => this.#places.specOf(ref) };
  }
}
