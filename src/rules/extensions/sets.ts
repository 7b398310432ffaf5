// -m set and -j SET: sets of ipset, by name. Whether a set is there, no rule file tells.
//
// extensions/libxt_set.c and libxt_SET.c of iptables 1.8.9; net/netfilter/xt_set.c.

import { optionsOf, type Extension, type Given } from "../extension.ts";
import type { Match, SetCount, SetMatch, SetRef, SetSide, SetTarget, Target } from "../ruleset.ts";
import { integer, not, string, u32, U32_MAX, u64 } from "../types.ts";

const SET_NAME_BYTES = 31;
const MOST_SIDES = 6;

function readRef(given: Given, key: string): SetRef | null {
  const setting = given.find(key);
  if (setting === undefined) return null;
  const name = given.get(key, string(SET_NAME_BYTES, 1))!;
  const sides = setting.second.split(",").map((side): SetSide => {
    if (side.startsWith("src")) return "src";
    return side.startsWith("dst") ? "dst" : given.fail(`"${setting.second}" is no list of src and dst`, key);
  });
  if (sides.length > MOST_SIDES) given.fail(`${MOST_SIDES} of src and dst at most`, key);
  return { name, sides };
}

function printRef(key: string, ref: SetRef | null): string {
  return ref === null ? "" : ` --${key} ${ref.name} ${ref.sides.join(",")}`;
}

const OPERATORS = ["eq", "lt", "gt"] as const;

function countOptions(what: "packets" | "bytes") {
  const all = OPERATORS.map((op) => `${what}-${op}`);
  return all.map((names) => ({ names, negatable: names.endsWith("eq"), excludes: all.join(" "), value: u64 }));
}

function readCount(given: Given, what: "packets" | "bytes"): SetCount | null {
  for (const op of OPERATORS) {
    const value = given.get(`${what}-${op}`, u64);
    if (value !== undefined) return { op, value, negated: given.negated(`${what}-${op}`) };
  }
  return null;
}

function printCount(what: string, count: SetCount | null): string {
  return count === null ? "" : `${not(count)} --${what}-${count.op} ${count.value}`;
}

const match: Extension<SetMatch> = {
  name: "set",
  options: optionsOf([
    { names: "match-set set", args: 2, negatable: true, required: true },
    { names: "return-nomatch", args: 0 },
    { names: "update-counters", args: 0, negatable: true },
    { names: "update-subcounters", args: 0, negatable: true },
    ...countOptions("packets"),
    ...countOptions("bytes"),
  ]),
  read: (given) => ({
    kind: "set",
    ...readRef(given, "match-set")!,
    negated: given.negated("match-set"),
    returnNomatch: given.has("return-nomatch"),
    updateCounters: !given.negated("update-counters"),
    updateSubcounters: !given.negated("update-subcounters"),
    packets: readCount(given, "packets"),
    bytes: readCount(given, "bytes"),
  }),
  print: (set) =>
    not(set) +
    printRef("match-set", set) +
    (set.returnNomatch ? " --return-nomatch" : "") +
    (set.updateCounters ? "" : " ! --update-counters") +
    (set.updateSubcounters ? "" : " ! --update-subcounters") +
    printCount("packets", set.packets) +
    printCount("bytes", set.bytes),
};

const target: Extension<SetTarget> = {
  name: "SET",
  options: optionsOf([
    { names: "add-set", args: 2 },
    { names: "del-set", args: 2 },
    { names: "exist", args: 0, needs: "add-set" },
    { names: "timeout", value: integer(U32_MAX - 1), needs: "add-set" },
    { names: "map-set", args: 2 },
    { names: "map-mark", args: 0, needs: "map-set" },
    { names: "map-prio", args: 0, needs: "map-set" },
    { names: "map-queue", args: 0, needs: "map-set" },
  ]),
  read(given) {
    const [add, del, map] = [readRef(given, "add-set"), readRef(given, "del-set"), readRef(given, "map-set")];
    const [mapMark, mapPrio, mapQueue] = [given.has("map-mark"), given.has("map-prio"), given.has("map-queue")];
    if (add === null && del === null && map === null) given.fail("SET needs --add-set, --del-set or --map-set");
    if (map !== null && !mapMark && !mapPrio && !mapQueue) {
      given.fail("--map-set needs --map-mark, --map-prio or --map-queue", "map-set");
    }
    const timeout = given.get("timeout", u32) ?? null;
    return { kind: "SET", add, del, map, exist: given.has("exist"), timeout, mapMark, mapPrio, mapQueue };
  },
  tablesOf: ({ map }) => (map === null ? null : ["mangle"]),
  hooks: ({ mapPrio, mapQueue }) => (mapPrio || mapQueue ? ["FORWARD", "OUTPUT", "POSTROUTING"] : null),
  print: ({ add, del, map, exist, timeout, mapMark, mapPrio, mapQueue }) =>
    printRef("add-set", add) +
    (exist ? " --exist" : "") +
    (timeout === null ? "" : ` --timeout ${timeout}`) +
    printRef("del-set", del) +
    printRef("map-set", map) +
    (mapMark ? " --map-mark" : "") +
    (mapPrio ? " --map-prio" : "") +
    (mapQueue ? " --map-queue" : ""),
};

export const MATCHES: readonly Extension<Match>[] = [match];
export const TARGETS: readonly Extension<Target>[] = [target];
