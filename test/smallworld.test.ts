// Small worlds, whole: every rule set there is, and every packet.

import { test } from "node:test";
import type { Ruleset } from "../src/rules/ruleset.ts";
import { agreesWithReference, assertRight } from "./support/agree.ts";
import type { PacketJson } from "./support/arbitrary-packets.ts";
import { ENGINE, DECIDING_ENGINE, type Classifier } from "./support/classifiers.ts";
import { Draw } from "./support/draw.ts";
import {
  byThrees,
  callsWithBodies,
  drawNineBits,
  HOST,
  NINE_BITS,
  TWO_BITS,
  upToTwoRules,
} from "./support/smallworld.ts";

const SEED = 1;
const DRAWN = 300;

test("two bits, every rule set of up to two rules, every packet: the engine decides as the reference does", () => {
  for (const ruleset of byThrees(upToTwoRules())) assertAnswers(ruleset, TWO_BITS, ENGINE);
});

test("two bits, every call of a chain of two rules with one behind it: so it does", () => {
  for (const ruleset of byThrees(callsWithBodies())) assertAnswers(ruleset, TWO_BITS, ENGINE);
});

test(`three fields of three bits, ${DRAWN} rule sets, every packet: so it does`, () => {
  const draw = new Draw(SEED);
  for (let count = 0; count < DRAWN; count++) assertAnswers(drawNineBits(draw), NINE_BITS, ENGINE);
});

test("without the clauses that only count: so it does", () => {
  const draw = new Draw(SEED + 1);
  for (let count = 0; count < DRAWN; count++) assertAnswers(drawNineBits(draw), NINE_BITS, DECIDING_ENGINE);
});

function assertAnswers(ruleset: Ruleset, packets: readonly PacketJson[], checked: Classifier): void {
  assertRight({ ruleset, host: HOST, packets }, agreesWithReference(checked));
}
