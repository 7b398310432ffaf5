// Threads that classify the packets of one batch, a share each, pass by pass.
//
// Each has an engine of its own with a copy of the same tree. A pass is a number of orders: the first thread writes the
// number into shared memory and does its own share, the others look for it without sleeping, since a pass takes about a
// millisecond and to wake a thread takes a twentieth of that.

import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { Batch } from "../engine/batch.ts";
import type { BatchCopy } from "../engine/batch.ts";
import { FIELD_COUNT } from "../layout.ts";

/** No answer: what answers are overwritten with. */
export const UNWRITTEN = 0xfffffffe;

// shared words: the order, its number, and how many have done it
const ORDER = 0;
const NUMBER = 1;
const DONE = 2;
const FORGET = 1;
const CLASSIFY = 2;
const TELL = 3;
const END = 4;
/** Looks at shared memory before a thread sleeps for a moment. */
const PATIENCE = 100_000;

interface Share {
  readonly control: SharedArrayBuffer;
  readonly copy: BatchCopy;
  readonly records: Uint32Array;
  readonly answers: SharedArrayBuffer;
}

export class Crew {
  readonly count: number;
  readonly #batch: Batch;
  readonly #answers: SharedArrayBuffer[] = [];
  readonly #workers: Worker[] = [];
  readonly #control = new Int32Array(new SharedArrayBuffer(12));
  #number = 0;

  /** `records`: those of all packets, which stand in the batch. */
  constructor(batch: Batch, records: Uint32Array, threads: number) {
    this.count = records.length / FIELD_COUNT;
    this.#batch = batch;
    const bound = (thread: number): number => Math.floor((this.count * thread) / threads) * FIELD_COUNT;
    for (let thread = 1; thread < threads; thread++) {
      const own = records.slice(bound(thread), bound(thread + 1));
      const answers = new SharedArrayBuffer((own.length / FIELD_COUNT) * 4);
      const control = this.#control.buffer;
      const share: Share = { control, copy: batch.copy(), records: own, answers };
      this.#workers.push(new Worker(new URL(import.meta.url), { workerData: share }));
      this.#answers.push(answers);
    }
    if (threads > 1) batch.load(records.slice(0, bound(1)));
  }

  /** Resolves when all threads have their tree; throws what one of them throws. */
  async ready(): Promise<void> {
    await Promise.all(
      this.#workers.map(
        (worker) =>
          new Promise((resolve, reject) => {
            worker.once("message", resolve);
            worker.once("error", reject);
          }),
      ),
    );
  }

  /** Milliseconds of one pass. */
  pass(): number {
    this.#do(FORGET);
    const began = performance.now();
    this.#do(CLASSIFY);
    return performance.now() - began;
  }

  /** The answers of the last pass. */
  answers(): Uint32Array {
    this.#do(TELL);
    const all = new Uint32Array(this.count);
    const own = this.#batch.answers();
    all.set(own);
    let at = own.length;
    for (const answers of this.#answers) {
      all.set(new Uint32Array(answers), at);
      at += answers.byteLength / 4;
    }
    return all;
  }

  /** Ends the other threads. */
  async end(): Promise<void> {
    this.#order(END);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #order(order: number): void {
    Atomics.store(this.#control, DONE, 0);
    Atomics.store(this.#control, ORDER, order);
    Atomics.store(this.#control, NUMBER, ++this.#number);
    Atomics.notify(this.#control, NUMBER);
  }

  #do(order: number): void {
    this.#order(order);
    obey(this.#batch, order, null);
    while (Atomics.load(this.#control, DONE) < this.#workers.length);
  }
}

function obey(batch: Batch, order: number, answers: Uint32Array | null): void {
  if (order === FORGET) batch.answers().fill(UNWRITTEN);
  else if (order === CLASSIFY) batch.classify();
  else if (order === TELL) answers?.set(batch.answers());
}

function work({ control, copy, records, answers }: Share): void {
  const batch = Batch.ofCopy(copy);
  batch.load(records);
  const words = new Int32Array(control);
  parentPort!.postMessage("ready");
  for (let number = 1; ; number++) {
    for (let looks = 0; Atomics.load(words, NUMBER) < number; looks++) {
      if (looks > PATIENCE) Atomics.wait(words, NUMBER, number - 1, 1);
    }
    const order = Atomics.load(words, ORDER);
    if (order === END) return;
    obey(batch, order, new Uint32Array(answers));
    Atomics.add(words, DONE, 1);
  }
}

if (!isMainThread && (workerData as Partial<Share> | null)?.control !== undefined) work(workerData as Share);
