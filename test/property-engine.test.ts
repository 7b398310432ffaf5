// The engine decides as the reference does: every field of every answer, and every rule met on the way.

import assert from "node:assert/strict";
import { test } from "node:test";
import { printCounters } from "../src/cli/counts.ts";
import { compileFirewall } from "../src/firewall.ts";
import { Reference } from "../src/reference/reference.ts";
import { agreesWithReference, answerable, assertRight } from "./support/agree.ts";
import { forAll, world } from "./support/arbitrary.ts";
import { drawCalled, drawShared, drawWide } from "./support/arbitrary-large.ts";
import { readWorld } from "./support/arrivals.ts";
import { DECIDING_ENGINE, ENGINE, TREE_ENGINE } from "./support/classifiers.ts";
import { WORLD, WORLDS } from "./support/worlds.ts";

const SEED = 1;
/** Large rule sets of each kind, and packets for each. */
const LARGE = 6;
const PACKETS = 300;

test(`the engine decides as the reference does: ${WORLDS} rule sets x ${WORLD.packets} packets`, () => {
  forAll(world(WORLD), { runs: WORLDS, seed: SEED }, (drawn) => {
    assertRight(drawn, agreesWithReference(ENGINE));
  });
});

test("with a tree for every program, however small, so it does", () => {
  forAll(world(WORLD), { runs: Math.ceil(WORLDS / 4), seed: SEED + 2 }, (drawn) => {
    assertRight(drawn, agreesWithReference(TREE_ENGINE));
  });
});

test("it counts as the reference does, traced or not", () => {
  forAll(world(WORLD), { runs: Math.ceil(WORLDS / 10), seed: SEED + 3 }, (drawn) => {
    const { ruleset, host: text, packets } = answerable(drawn).world;
    const { host, arrivals } = readWorld(text, packets);
    const reference = new Reference(ruleset, host, { stateless: true, seed: SEED });
    for (const arrival of arrivals) reference.run(arrival);
    const firewall = compileFirewall(ruleset, host, { stateless: true, seed: SEED });
    // what a path has counted is asked for in between too
    const half = arrivals.length >> 1;
    firewall.run(arrivals.slice(0, half));
    firewall.counters();
    firewall.run(arrivals.slice(half, half + 10), { trace: true });
    firewall.run(arrivals.slice(half + 10));
    assert.equal(printCounters(ruleset, firewall.counters()), printCounters(ruleset, reference.counters()));
  });
});

test("rule sets that are divided into parts: so it does", () => {
  for (let number = 0; number < LARGE; number++) assertRight(drawWide(number, PACKETS), agreesWithReference(ENGINE));
});

test("chains that are called too often to be folded: so it does", () => {
  for (let number = 0; number < LARGE; number++) assertRight(drawCalled(number, PACKETS), agreesWithReference(ENGINE));
});

test("large chains that several hooks call: so it does", () => {
  for (let number = 0; number < LARGE; number++) assertRight(drawShared(number, PACKETS), agreesWithReference(ENGINE));
});

test("without the clauses that only count it decides the same", () => {
  forAll(world(WORLD), { runs: Math.ceil(WORLDS / 10), seed: SEED + 1 }, (drawn) => {
    assertRight(drawn, agreesWithReference(DECIDING_ENGINE));
  });
});
