// A packet line on which two classifiers disagree -> the smallest such line that can be found by small steps.
//
// Keys are left out one by one, then values are made plainer: defaults first, then zeros, small and round ones. A step
// is kept if the disagreement stays; the walk ends when no step does. Lines that mean no packet never disagree.

import type { PacketLine } from "../packet/print.ts";

/** @param disagrees whether the line still shows the disagreement; it is asked a few hundred times at most */
export function shrinkLine(line: PacketLine, disagrees: (line: PacketLine) => boolean): PacketLine {
  let smallest = line;
  for (let progress = true; progress;) {
    progress = false;
    for (const candidate of smallerLines(smallest)) {
      if (!disagrees(candidate)) continue;
      smallest = candidate;
      progress = true;
      break;
    }
  }
  return smallest;
}

/** Lines one step smaller, those first that leave out most. */
function* smallerLines(line: PacketLine): Generator<PacketLine> {
  for (const key of Object.keys(line)) {
    const { [key]: _, ...rest } = line;
    yield rest;
  }
  for (const [key, value] of Object.entries(line)) {
    for (const plainer of plainerValues(key, value)) yield { ...line, [key]: plainer };
  }
}

/** Values that are strictly plainer than this one, so that the walk ends. */
function plainerValues(key: string, value: unknown): readonly unknown[] {
  if (typeof value === "number") {
    const candidates = [0, 1, Math.floor(value / 2), value - 1];
    return [...new Set(candidates)].filter((candidate) => candidate >= 0 && candidate < value);
  }
  if (typeof value === "string" && (key === "src" || key === "dst")) return plainerAddresses(value);
  if (typeof value === "string" && key === "flags" && value.length > 1) {
    return Array.from(value, (letter) => value.replace(letter, ""));
  }
  if (typeof value === "string" && key.endsWith("_hex") && value.length > 2) {
    return [value.slice(0, 2 * Math.floor(value.length / 4)), value.slice(0, -2)];
  }
  return [];
}

/** With one part of the address zero, or one, or smaller. */
function plainerAddresses(address: string): readonly string[] {
  const parts = address.split(".").map(Number);
  return [3, 2, 1, 0].flatMap((at) =>
    plainerValues("", parts[at]).map((part) => parts.map((old, index) => (index === at ? part : old)).join(".")),
  );
}
