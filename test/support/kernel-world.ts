// A world asked of kernel and reference: what they say differently, and the smallest world that still shows it.

import { UnsupportedError } from "../../src/reference/error.ts";
import { askReference, difference } from "./compare.ts";
import type { Question } from "./compare.ts";
import { askOracle } from "./oracle.ts";
import type { Json, Verdict } from "./oracle.ts";

export interface Comparison {
  /** Packets that both answered. */
  readonly compared: number;
  /** Packets that the reference does not model. */
  readonly unmodelled: number;
  readonly difference: Difference | null;
  /** What the kernel said, packet by packet. */
  readonly kernel: readonly Verdict[];
}

export interface Difference {
  /** Index of the packet. */
  readonly index: number;
  readonly text: string;
}

/** Rules that count packets. */
const MEMORY = /-m (limit|statistic|hashlimit|recent|quota|connbytes|connlimit)|-j SET/;

/** The reference gets the packets at the moments when the kernel got them, give or take the time that it took to begin. */
export function compareWorld(world: Question): Comparison {
  const begun = Date.now() / 1000;
  const timed = askOracle(world.rules, world.host, world.packets, [...world.args, "--times"]);
  const kernel = timed.map((verdict) => without(verdict, "time"));
  const packets = world.packets.map((packet, index) => ({
    ...without(packet, "wait"),
    time: begun + Number(timed[index]!["time"]),
  }));
  const reference = askReference({ ...world, packets });
  let compared = 0;
  let unmodelled = 0;
  for (const [index, verdict] of kernel.entries()) {
    const answer = reference[index]!;
    const isModelled = !(answer instanceof UnsupportedError);
    if (isModelled) {
      const text = difference(verdict, answer);
      if (text !== null && !(answer["chosen"] === true && drawsLike(verdict, { ...world, packets }, index)))
        return { compared, unmodelled, difference: { index, text }, kernel };
      compared++;
    } else {
      unmodelled++;
    }
    // what follows may hang on what the reference did not do: rules that count, errors that are rationed
    if (!isModelled && (MEMORY.test(world.rules) || verdict["where"] === "routing")) break;
  }
  return { compared, unmodelled, difference: null, kernel };
}

/** Seeds with which the reference may draw what the kernel has drawn. */
const MOST_SEEDS = 100;

/** Rules have asked a port that the kernel drew by lot: with some other lot the reference says the same. */
function drawsLike(verdict: Verdict, world: Question, index: number): boolean {
  const asked = { ...world, packets: world.packets.slice(0, index + 1) };
  for (let seed = 1; seed <= MOST_SEEDS; seed++) {
    if (difference(verdict, askReference(asked, seed)[index]!) === null) return true;
  }
  return false;
}

/** Leaves out packets, rules, routes and the like as long as kernel and reference still differ. */
export function shrinkWorld(world: Question, deadline: number): Question {
  let smallest = world;
  const tries = (candidate: Question): boolean => {
    if (Date.now() > deadline || !differs(candidate)) return false;
    smallest = candidate;
    return true;
  };
  const shown = compareWorld(world).difference;
  if (shown === null) return world;
  const { index } = shown;
  if (!tries({ ...world, packets: [world.packets[index]!] }))
    tries({ ...world, packets: world.packets.slice(0, index + 1) });
  // halves, quarters, ... of the packets first
  for (let size = Math.floor(smallest.packets.length / 2); size > 1; size = Math.floor(size / 2)) {
    for (let at = smallest.packets.length - 1 - size; at >= 0 && Date.now() < deadline; at -= size) {
      tries({ ...smallest, packets: smallest.packets.toSpliced(at, size) });
    }
  }
  for (let again = true; again && Date.now() < deadline;) {
    again = false;
    for (const edit of editsOf(smallest)) {
      const candidate = edit(smallest);
      if (candidate !== null && tries(candidate)) again = true;
    }
  }
  return smallest;
}

function differs(world: Question): boolean {
  try {
    return compareWorld(world).difference !== null;
  } catch {
    return false;
  }
}

/** Leaves something out; null where there is nothing of the kind. */
type Edit = (world: Question) => Question | null;

/** From the end to the start, so that what is left keeps its index. */
function editsOf({ rules, host, packets }: Question): readonly Edit[] {
  const backwards = (count: number, edit: (at: number) => Edit): Edit[] =>
    Array.from({ length: count }, (_, index) => edit(count - 1 - index));
  const sysctl = Object.keys(host["sysctl"] ?? {});
  return [
    ...["raw", "mangle", "nat", "security", "filter"].map((table) => withoutTable(table)),
    ...backwards(rules.split("\n").length, withoutLine),
    ...["routes", "rules", "interfaces"].flatMap((key) =>
      backwards(((host[key] ?? []) as readonly unknown[]).length, (at) => withoutItem(key, at)),
    ),
    ...sysctl.map((key) => withoutSysctl(key)),
    ...backwards(packets.length - 1, withoutPacket),
    ...Object.keys(packets.at(-1)!)
      .filter((key) => key !== "in" && key !== "dst")
      .map(withoutKey),
  ];
}

function withoutTable(table: string): Edit {
  return (world) => ({ ...world, rules: world.rules.replace(new RegExp(`^\\*${table}\n[^]*?^COMMIT\n`, "m"), "") });
}

function withoutLine(at: number): Edit {
  return (world) => {
    const lines = world.rules.split("\n");
    // built-in chains stay
    if (!/^(-A|:[DS]\d)/.test(lines[at] ?? "")) return null;
    return { ...world, rules: lines.toSpliced(at, 1).join("\n") };
  };
}

function withoutItem(key: string, at: number): Edit {
  return (world) => {
    const list = world.host[key] as readonly unknown[];
    return at < list.length ? { ...world, host: { ...world.host, [key]: list.toSpliced(at, 1) } } : null;
  };
}

function withoutSysctl(key: string): Edit {
  return (world) => ({ ...world, host: { ...world.host, sysctl: without(world.host["sysctl"] as Json, key) } });
}

function withoutPacket(at: number): Edit {
  return (world) => ({ ...world, packets: world.packets.toSpliced(at, 1) });
}

function withoutKey(key: string): Edit {
  return (world) => ({ ...world, packets: world.packets.with(-1, without(world.packets.at(-1)!, key)) });
}

function without(object: Json, key: string): Json {
  return Object.fromEntries(Object.entries(object).filter(([name]) => name !== key));
}

/** The files of a case directory in one text, ready to be cut apart. */
export function showWorld({ rules, host, packets, args }: Question): string {
  const lines = packets.map((packet) => JSON.stringify(packet)).join("\n");
  return `args:\n${args.join(" ")}\n\nrules.v4:\n${rules}\nhost.json:\n${JSON.stringify(host)}\n\npackets.jsonl:\n${lines}\n`;
}
