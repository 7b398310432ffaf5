// The engine decides as the reference does: every field of every answer, and every rule met on the way.

import { test } from "node:test";
import { agreesWithReference, assertRight } from "./support/agree.ts";
import { forAll, world } from "./support/arbitrary.ts";
import { drawCalled, drawWide } from "./support/arbitrary-large.ts";
import { DECIDING_ENGINE, ENGINE } from "./support/classifiers.ts";
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

test("rule sets that are divided into parts: so it does", () => {
  for (let number = 0; number < LARGE; number++) assertRight(drawWide(number, PACKETS), agreesWithReference(ENGINE));
});

test("chains that are called too often to be folded: so it does", () => {
  for (let number = 0; number < LARGE; number++) assertRight(drawCalled(number, PACKETS), agreesWithReference(ENGINE));
});

test("without the clauses that only count it decides the same", () => {
  forAll(world(WORLD), { runs: Math.ceil(WORLDS / 10), seed: SEED + 1 }, (drawn) => {
    assertRight(drawn, agreesWithReference(DECIDING_ENGINE));
  });
});
