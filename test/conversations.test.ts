// Synthetic packets that belong together: their connections are followed by the engine as by the reference.

import assert from "node:assert/strict";
import { test } from "node:test";
import { sameAnswer } from "../src/cli/difference.ts";
import type { Outcome } from "../src/classifier.ts";
import { compileFirewall } from "../src/firewall.ts";
import type { Host } from "../src/host/host.ts";
import { parseHost } from "../src/host/parse.ts";
import { arrivalToLine } from "../src/packet/print.ts";
import { UnsupportedError } from "../src/reference/error.ts";
import { Reference } from "../src/reference/reference.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import type { Ruleset } from "../src/rules/ruleset.ts";
import { readExamples } from "./support/examples.ts";
import { drawKernelSequence } from "./support/kernel-sequence.ts";

const SEED = 5;
const PACKETS = 4000;
const WORLDS = 60;
const WORLD_PACKETS = 400;

interface Spoken {
  readonly outcomes: readonly Outcome[];
  /** Packets of ICMP that quote another. */
  readonly errors: number;
}

/** Asserts that both answer alike, up to the first packet that one of them does not model. */
function bothFollow(ruleset: Ruleset, host: Host, flows: number, conversations: number, packets = PACKETS): Spoken {
  const firewall = compileFirewall(ruleset, host, { seed: SEED, flows });
  const reference = new Reference(ruleset, host, { seed: SEED, stateless: false });
  const outcomes: Outcome[] = [];
  let errors = 0;
  for (const { samples } of firewall.converse({ packets, seed: SEED, conversations, sampled: packets })) {
    for (const { arrival, outcome } of samples) {
      let wanted: Outcome;
      try {
        wanted = reference.run(arrival).outcome;
      } catch (error) {
        if (error instanceof UnsupportedError) return { outcomes, errors };
        throw error;
      }
      if (outcome === null) return { outcomes, errors };
      if (!sameAnswer(outcome, wanted)) {
        const line = JSON.stringify(arrivalToLine(arrival, host));
        assert.deepEqual(outcome, wanted, `packet ${outcomes.length + 1}: ${line}`);
      }
      outcomes.push(outcome);
      if (arrival.packet.inner !== null) errors++;
    }
  }
  return { outcomes, errors };
}

for (const { name, ruleset, host } of readExamples()) {
  test(`in ${name} engine and reference follow the same conversations`, () => {
    const { outcomes, errors } = bothFollow(ruleset, host, 4096, 300);
    assert.ok(outcomes.length > PACKETS / 4, `${outcomes.length} packets`);
    const count = (state: string): number => outcomes.filter(({ ctState }) => ctState === state).length;
    assert.ok(count("NEW") > 100, "first packets");
    assert.ok(count("ESTABLISHED") > outcomes.length / 2, "packets of connections");
    assert.ok(count("RELATED") > 3 && count("RELATED") <= errors, "errors");
    assert.ok(count("INVALID") > 3, "segments out of the window");
  });
}

test("clashing source ports are told apart by lot", () => {
  const ruleset = parseRuleset("*nat\n:POSTROUTING ACCEPT\n-A POSTROUTING -o eth1 -j MASQUERADE\nCOMMIT\n", {
    file: "rules",
  });
  const host = parseHost(
    JSON.stringify({
      interfaces: [
        { name: "eth0", addresses: ["10.0.0.1/24"] },
        { name: "eth1", addresses: ["192.0.2.1/24"] },
      ],
    }),
    "host.json",
  );
  const { outcomes } = bothFollow(ruleset, host, 4096, 300);
  assert.ok(outcomes.filter(({ chosen }) => chosen).length > 3);
});

test(`in ${WORLDS} random worlds they do`, () => {
  let compared = 0;
  for (let number = 0; number < WORLDS; number++) {
    const world = drawKernelSequence(number, 1, false);
    // streams do not tell what these have changed
    if (/ECN|TCPMSS/.test(world.rules)) continue;
    const ruleset = parseRuleset(world.rules, { file: "rules.v4" });
    const host = parseHost(JSON.stringify({ ...world.host, conntrack: true }), "host.json");
    compared += bothFollow(ruleset, host, 4096, 60, WORLD_PACKETS).outcomes.length;
  }
  assert.ok(compared > (WORLDS * WORLD_PACKETS) / 5, `${compared} packets`);
});

test("a full table refuses new connections", () => {
  const { ruleset, host } = readExamples()[0]!;
  const firewall = compileFirewall(ruleset, host, { seed: SEED, flows: 64 });
  for (const { packets } of firewall.converse({ packets: 100_000, seed: SEED, conversations: 1000 }))
    assert.ok(packets > 0);
  assert.ok(firewall.flowCount <= 64);
  const refused = firewall.tally().verdicts.find(({ where }) => where === "PREROUTING");
  assert.ok((refused?.packets ?? 0) > 1000);
});
