// The engine beside the reference, on worlds that the kernel was asked about.

import { isDeepStrictEqual } from "node:util";
import { compileFirewall } from "../../src/firewall.ts";
import type { Host } from "../../src/host/host.ts";
import { parseHost } from "../../src/host/parse.ts";
import { parseArrival } from "../../src/packet/line.ts";
import type { Arrival } from "../../src/packet/packet.ts";
import { UnsupportedError } from "../../src/reference/error.ts";
import { Reference } from "../../src/reference/reference.ts";
import { rulesetOf } from "./compare.ts";
import type { Question } from "./compare.ts";

export interface EngineComparison {
  /** Packets that both have answered. */
  readonly compared: number;
  readonly difference: string | null;
}

const SEED = 7;

/** All packets that both model. */
export function compareEngine(question: Question): EngineComparison {
  for (let { packets } = question; ;) {
    const { unmodelled, ...comparison } = compareOnce({ ...question, packets });
    if (unmodelled === null) return comparison;
    packets = packets.filter((_, index) => index !== unmodelled);
  }
}

/** @returns unmodelled: a packet behind which nothing is compared: what rules remember, and errors that are rationed, may hang on it */
function compareOnce(question: Question): EngineComparison & { readonly unmodelled: number | null } {
  const { host, packets, args } = question;
  const ruleset = rulesetOf(question);
  const model = parseHost(JSON.stringify(host), "host.json");
  const backend: "nft" | "legacy" = args.includes("nft") ? "nft" : "legacy";
  const options = { seed: SEED, stateless: args.includes("--stateless"), limitErrors: true, backend };
  const firewall = compileFirewall(ruleset, model, { ...options, counting: true });
  const reference = new Reference(ruleset, model, options);
  let compared = 0;
  for (const [index, arrival] of arrivalsOf(packets, model).entries()) {
    try {
      const wanted = reference.run(arrival, index);
      const given = firewall.run([arrival], { trace: true, first: index })[0];
      if (!isDeepStrictEqual(plain(given), plain(wanted))) {
        const text = `the engine says\n  ${JSON.stringify(given)}\nthe reference says\n  ${JSON.stringify(wanted)}`;
        return { compared, unmodelled: null, difference: `packet ${index + 1}: ${text}` };
      }
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw error;
      return { compared, difference: null, unmodelled: index };
    }
    compared++;
  }
  return { compared, difference: null, unmodelled: null };
}

function arrivalsOf(packets: Question["packets"], host: Host): readonly Arrival[] {
  let time = 0;
  return packets.map((packet, index) => {
    const before = { packets: index, time };
    const arrival = parseArrival(JSON.stringify(packet), "packets.jsonl", index + 1, host, before);
    time = arrival.time;
    return arrival;
  });
}

/** What is left out and what is undefined are the same; of bytes nothing is shown. */
function plain(answer: unknown): unknown {
  return JSON.parse(JSON.stringify(answer, (key, value: unknown) => (key === "payload" ? undefined : value)));
}
