// The engine decides as the reference does: every field of every answer, and every rule met on the way.

import { test } from "node:test";
import { agreesWithReference, assertRight } from "./support/agree.ts";
import { forAll, world } from "./support/arbitrary.ts";
import { DECIDING_ENGINE, ENGINE } from "./support/classifiers.ts";
import { WORLD, WORLDS } from "./support/worlds.ts";

const SEED = 1;

test(`the engine decides as the reference does: ${WORLDS} rule sets x ${WORLD.packets} packets`, () => {
  forAll(world(WORLD), { runs: WORLDS, seed: SEED }, (drawn) => {
    assertRight(drawn, agreesWithReference(ENGINE));
  });
});

test("without the clauses that only count it decides the same", () => {
  forAll(world(WORLD), { runs: Math.ceil(WORLDS / 10), seed: SEED + 1 }, (drawn) => {
    assertRight(drawn, agreesWithReference(DECIDING_ENGINE));
  });
});
