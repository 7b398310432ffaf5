// A bar on stderr for what takes longer than a second; nothing where stderr is no terminal.

import { SingleBar } from "cli-progress";
import { grouped } from "./numbers.ts";

const PATIENCE_MS = 1000;

export class Progress {
  #bar: SingleBar | null = null;
  readonly #shown: boolean;
  readonly #start = performance.now();
  readonly #total: number;
  readonly #label: string;

  /** @param label what is counted @param total how many of it there will be */
  constructor(label: string, total: number, quiet: boolean) {
    this.#label = label;
    this.#total = total;
    this.#shown = process.stderr.isTTY && !quiet && process.env["TERM"] !== "dumb";
  }

  /** `done` of the total, with a remark behind the bar. */
  update(done: number, remark = ""): void {
    if (!this.#shown || performance.now() - this.#start < PATIENCE_MS) return;
    if (this.#bar === null) {
      this.#bar = new SingleBar({
        format: "{bar} {percentage} % | {done} of {all} {label} | {eta_formatted} left {remark}",
        barCompleteChar: "#",
        barIncompleteChar: "-",
        barsize: 30,
        hideCursor: true,
        clearOnComplete: true,
        stream: process.stderr,
        etaBuffer: 50,
      });
      this.#bar.start(this.#total, 0, this.#words(0, ""));
    }
    this.#bar.update(Math.min(done, this.#total), this.#words(done, remark));
  }

  /** Takes the bar away; whatever is printed next stands on a clean line. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = null;
  }

  #words(done: number, remark: string): Record<string, string> {
    return { done: grouped(done), all: grouped(this.#total), label: this.#label, remark };
  }
}
