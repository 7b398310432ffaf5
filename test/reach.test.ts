// reach: packets in its regions and around them, one by one through the reference.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { endsAt } from "../src/diff/arrivals.ts";
import { BudgetError } from "../src/diff/diagram.ts";
import { packetsToward } from "../src/diff/toward.ts";
import type { Place, Toward } from "../src/diff/toward.ts";
import type { Host } from "../src/host/host.ts";
import { parseHost } from "../src/host/parse.ts";
import { parseAddress } from "../src/net/address.ts";
import { parseArrival } from "../src/packet/line.ts";
import { UnsupportedError } from "../src/reference/error.ts";
import { Reference } from "../src/reference/reference.ts";
import { RuleError } from "../src/rules/error.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import { printRuleset } from "../src/rules/print.ts";
import type { Ruleset } from "../src/rules/ruleset.ts";
import { drawHost } from "./support/arbitrary-host.ts";
import { drawRuleset } from "./support/arbitrary-rules.ts";
import { temporaryFiles, verdictree } from "./support/command.ts";
import { unshared } from "./support/diff-brute.ts";
import { Draw } from "./support/draw.ts";
import { packetsAround } from "./support/reaching.ts";

const WORLDS = Number(process.env["VERDICTREE_REACH_WORLDS"] ?? 150);
const SEED = Number(process.env["VERDICTREE_REACH_SEED"] ?? 1);
const BUDGET = { nodes: 2_000_000, steps: 20_000_000 };

/** How many packets end there, and how many do not; each held to the reference. */
function checkPackets(
  toward: Toward,
  place: Place,
  ruleset: Ruleset,
  host: Host,
  draw: Draw,
  count: number,
): readonly [inside: number, around: number] {
  let [inside, around] = [0, 0];
  for (const packet of packetsAround(toward, draw, count)) {
    const { line, point } = packet;
    const arrival = parseArrival(JSON.stringify(line), "packet", 1, host);
    let ends: boolean;
    try {
      const { outcome } = new Reference(ruleset, host, { stateless: true }).run(arrival);
      ends = endsAt(outcome, place) && (place.proto === undefined || place.proto === point.proto);
      if (ends && place.dport !== undefined) ends = point.proto !== 1;
    } catch (error) {
      if (error instanceof UnsupportedError) continue;
      throw error;
    }
    assert.equal(
      packet.inside,
      ends,
      `${JSON.stringify(line)} to ${JSON.stringify(place)}\n${printRuleset(ruleset)}\n${JSON.stringify(host.interfaces)}`,
    );
    if (ends) inside++;
    else around++;
  }
  return [inside, around];
}

function exampleOf(name: string): { readonly ruleset: Ruleset; readonly host: Host } {
  const read = (file: string): string => readFileSync(`examples/${name}/${file}`, "utf8");
  return {
    ruleset: parseRuleset(read("rules.txt"), { file: name }),
    host: parseHost(read("host.json"), name),
  };
}

for (const name of readdirSync("examples").filter((each) => existsSync(`examples/${each}/rules.txt`))) {
  test(`what ends at a published port of the example ${name}, and what does not, as the reference has it`, () => {
    const { ruleset, host } = exampleOf(name);
    const address = parseAddress("172.17.0.2")!;
    const place: Place = { dst: [[address, address]], dport: [[80, 80]], proto: 6 };
    const toward = packetsToward(place, ruleset, host, BUDGET);
    const [inside, around] = checkPackets(toward, place, ruleset, host, new Draw(SEED), 2_000);
    assert.ok(inside > 100 && around > 100, `${inside} packets inside, ${around} around`);
  });
}

test("what ends at places of random hosts, and what does not, as the reference has it", () => {
  let [inside, around] = [0, 0];
  for (let world = 0; world < WORLDS; world++) {
    const draw = new Draw(SEED * 600_000 + world);
    const drawn = drawHost(draw);
    const host = parseHost(JSON.stringify(drawn.host), "host");
    const options = { clock: false, chance: false, guardsInForwardOnly: false };
    const ruleset = unshared(drawRuleset(draw, drawn.surroundings, options));
    const { address } = draw.pick([...drawn.surroundings.own, ...drawn.surroundings.near]);
    const place: Place = draw.chance(0.5) ? { dst: [[address, address]] } : { dport: [[0, 0x7fff]] };
    let toward: Toward;
    try {
      toward = packetsToward(place, ruleset, host, BUDGET);
    } catch (error) {
      if (error instanceof RuleError || error instanceof UnsupportedError || error instanceof BudgetError) continue;
      throw error;
    }
    const counts = checkPackets(toward, place, ruleset, host, draw, 60);
    inside += counts[0];
    around += counts[1];
  }
  assert.ok(inside > WORLDS && around > WORLDS, `${inside} packets inside, ${around} around`);
});

interface Line {
  readonly region: Readonly<Record<string, readonly string[]>>;
  readonly dst: string;
  readonly dport: number;
}

test("reach tells published ports as they are asked for from outside", async (context) => {
  const rules = readFileSync("examples/docker-host/rules.txt", "utf8");
  // nothing goes in to the containers but what was translated
  const { closed } = temporaryFiles(context, {
    closed: rules.replace(
      "-A FORWARD -j DOCKER-ISOLATION",
      "-A FORWARD ! -i docker0 -o docker0 -m conntrack ! --ctstate DNAT -j DROP\n-A FORWARD -j DOCKER-ISOLATION",
    ),
  });
  const told = async (place: string): Promise<readonly unknown[]> => {
    const { code, stdout } = await verdictree(
      "reach",
      closed,
      place,
      "--host",
      "examples/docker-host/host.json",
      "--json",
    );
    assert.equal(code, 0);
    return stdout
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Line)
      .map(({ region, dst, dport }) => [region["in"], region["dport"], dst, dport]);
  };
  assert.deepEqual(await told("dst=172.17.0.2 in=eth0,eth1"), [[undefined, ["32768"], "172.17.0.2", 80]]);
  assert.deepEqual(await told("dst=172.17.0.3"), [
    [["docker0"], undefined, "172.17.0.3", 0],
    [["eth0", "eth1"], ["32769"], "172.17.0.3", 80],
  ]);
  assert.deepEqual(await told("dst=172.17.0.2 proto=udp in=eth0,eth1"), []);
});

test("reach does not follow packets that come in once more by lo", () => {
  const { ruleset, host } = exampleOf("docker-host");
  const looped = parseHost(
    JSON.stringify({ interfaces: [{ name: "eth0", addresses: ["10.0.0.1/24"] }], routes: ["1.2.3.4 dev lo"] }),
    "host",
  );
  assert.throws(() => packetsToward({}, ruleset, looped, BUDGET), UnsupportedError);
  assert.doesNotThrow(() => packetsToward({}, ruleset, host, BUDGET));
});

test("reach wants a place that there can be, and says where its budget does not suffice", async () => {
  const ask = (...args: string[]): ReturnType<typeof verdictree> =>
    verdictree("reach", "examples/docker-host/rules.txt", ...args, "--host", "examples/docker-host/host.json");
  assert.equal((await ask("dst=172.17.0.2", "--budget", "1000")).code, 3);
  for (const place of ["to=1.2.3.4", "dst=1.2.3", "dport=70000", "in=lo", "proto=gre", "dst=10.0.0.1/8"]) {
    const { code, stdout } = await ask(place);
    assert.deepEqual([code, stdout], [2, ""], place);
  }
});
