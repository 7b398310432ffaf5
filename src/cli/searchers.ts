// A contest searched by several threads: the finding is the same for any number of them.
//
// Portions of packets are handed out in order. Once something is found, only portions before it are still worth an answer,
// and of what they find the first counts. This thread searches the first portion alone: most differences show there, before
// another thread has loaded its modules.

import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { Contest, PORTION } from "./contest.ts";
import type { ContestOptions, Finding } from "./contest.ts";

export interface Searched {
  /** How many packets were looked at, in order. */
  readonly packets: number;
  readonly finding: Finding | null;
}

interface Order {
  readonly portion: number;
  readonly count: number;
}

interface State {
  /** The portion that is handed out next. */
  next: number;
  /** Packets looked at. */
  done: number;
  ended: boolean;
  best: { readonly packets: number; readonly finding: Finding } | null;
}

type Found = ReturnType<Contest["search"]>;
type Search = (order: Order) => Found | Promise<Found>;

/** @param stopped asked between portions @param progress told how many packets are done */
export async function searchInThreads(
  options: ContestOptions,
  limits: { readonly packets: number; readonly threads: number },
  stopped: () => Promise<boolean>,
  progress: (packets: number) => void,
): Promise<Searched> {
  const contest = new Contest(options);
  const workers: Worker[] = [];
  const state: State = { next: 0, done: 0, ended: false, best: null };

  const work = async (search: Search, most: number): Promise<void> => {
    while (!state.ended && state.next < most) {
      const portion = state.next;
      const before = portion * PORTION;
      const count = Math.min(PORTION, limits.packets - before);
      if (count <= 0 || (state.best !== null && before >= state.best.packets)) return;
      state.next++;
      const found = await search({ portion, count });
      state.done += count;
      const packets = found === null ? Infinity : before + found.index + 1;
      if (found !== null && packets < (state.best?.packets ?? Infinity))
        state.best = { packets, finding: found.finding };
      progress(state.done);
      state.ended ||= await stopped();
    }
  };
  const here: Search = ({ portion, count }) => contest.search(portion, count);

  try {
    await work(here, 1);
    if (state.best === null && !state.ended && limits.packets > PORTION) {
      for (let thread = 1; thread < limits.threads; thread++) workers.push(startWorker(options));
      await Promise.all([work(here, Infinity), ...workers.map((worker) => work(searchIn(worker), Infinity))]);
    }
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return state.best ?? { packets: state.done, finding: null };
}

function startWorker(options: ContestOptions): Worker {
  return new Worker(new URL(import.meta.url), { workerData: options });
}

/** One order at a time. Throws what the thread throws. */
function searchIn(worker: Worker): Search {
  return (order) =>
    new Promise((resolve, reject) => {
      worker.once("error", reject);
      worker.once("message", (found: Found) => {
        worker.off("error", reject);
        resolve(found);
      });
      worker.postMessage(order);
    });
}

if (!isMainThread && parentPort !== null) {
  const port = parentPort;
  const contest = new Contest(workerData as ContestOptions);
  port.on("message", ({ portion, count }: Order) => {
    port.postMessage(contest.search(portion, count));
  });
}
