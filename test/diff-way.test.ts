// diff over the whole way of a host: packets in its regions and around them, one by one through the reference.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Outcome } from "../src/classifier.ts";
import { BudgetError, FALSE } from "../src/diff/diagram.ts";
import { compareWays, diffWays } from "../src/diff/way.ts";
import type { WayDifference } from "../src/diff/way.ts";
import type { Host } from "../src/host/host.ts";
import { parseHost } from "../src/host/parse.ts";
import { parseArrival } from "../src/packet/line.ts";
import { UnsupportedError } from "../src/reference/error.ts";
import { Reference } from "../src/reference/reference.ts";
import { RuleError } from "../src/rules/error.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import { printRuleset } from "../src/rules/print.ts";
import type { Ruleset } from "../src/rules/ruleset.ts";
import { temporaryFiles, verdictree } from "./support/command.ts";
import { drawHost } from "./support/arbitrary-host.ts";
import { drawRuleset } from "./support/arbitrary-rules.ts";
import { editedRuleset, unshared } from "./support/diff-brute.ts";
import { Draw } from "./support/draw.ts";
import { packetsAround } from "./support/reaching.ts";

const WORLDS = Number(process.env["VERDICTREE_WAY_WORLDS"] ?? 60);
const SEED = Number(process.env["VERDICTREE_WAY_SEED"] ?? 1);
const BUDGET = { nodes: 2_000_000, steps: 20_000_000 };

/** What is compared: how the packet ends, and as which. */
function endOf({ verdict, iface, packet }: Outcome, proto: unknown): string {
  if (verdict === "dropped" || verdict === "rejected") return "ended";
  return [verdict, iface, packet.src, packet.dst, proto === "icmp" ? 0 : packet.dport].join(" ");
}

/** How many packets end otherwise, and how many do not; each held to the reference. */
function checkPackets(rulesets: readonly [Ruleset, Ruleset], host: Host, draw: Draw): readonly [number, number] {
  const { diagram, space, universe, pairs, undecided } = compareWays(rulesets, host, BUDGET);
  const packets = pairs
    .filter(({ old, new: other }) => ![old, other].every(({ verdict }) => /^(dropped|rejected)$/.test(verdict)))
    .reduce((node, { where }) => diagram.or(node, where), FALSE);
  const counts: [number, number] = [0, 0];
  for (const { line, inside } of packetsAround({ space, universe, packets }, draw, 60)) {
    let ends: readonly string[];
    try {
      ends = rulesets.map((ruleset) => {
        const arrival = parseArrival(JSON.stringify(line), "packet", 1, host);
        return endOf(new Reference(ruleset, host, { stateless: true }).run(arrival).outcome, line["proto"]);
      });
    } catch (error) {
      if (error instanceof UnsupportedError) continue;
      throw error;
    }
    if (!inside && undecided.length > 0) continue;
    const [old, other] = ends;
    assert.equal(
      inside,
      old !== other,
      `${JSON.stringify(line)}: ${old} and ${other}\n${rulesets.map((ruleset) => printRuleset(ruleset)).join("\n")}`,
    );
    counts[inside ? 0 : 1]++;
  }
  return counts;
}

test("packets end otherwise inside the regions that are told, and nowhere else", () => {
  let [inside, around, refused] = [0, 0, 0];
  for (let world = 0; world < WORLDS; world++) {
    const draw = new Draw(SEED * 800_000 + world);
    const drawn = drawHost(draw);
    const host = parseHost(JSON.stringify(drawn.host), "host");
    const options = { clock: false, chance: false, guardsInForwardOnly: false };
    const old = unshared(drawRuleset(draw, drawn.surroundings, options));
    const other = draw.chance(0.8)
      ? editedRuleset(editedRuleset(old, draw), draw)
      : unshared(drawRuleset(draw, drawn.surroundings, options));
    try {
      const counts = checkPackets([old, other], host, draw);
      inside += counts[0];
      around += counts[1];
    } catch (error) {
      if (!(error instanceof RuleError || error instanceof UnsupportedError || error instanceof BudgetError))
        throw error;
      refused++;
    }
  }
  assert.ok(inside > WORLDS && around > WORLDS && refused < WORLDS / 2, `${inside}, ${around}, ${refused} refused`);
});

const HOST = parseHost(
  JSON.stringify({
    interfaces: [
      { name: "eth0", addresses: ["192.0.2.1/24"] },
      { name: "docker0", addresses: ["172.17.0.1/16"] },
    ],
    routes: ["default via 192.0.2.254 dev eth0"],
  }),
  "host",
);

const RULES = (nat: string, filter: string): Ruleset =>
  parseRuleset(`*nat\n:PREROUTING ACCEPT\n${nat}\nCOMMIT\n*filter\n:FORWARD DROP\n${filter}\nCOMMIT\n`, { file: "r" });
const PUBLISHED =
  "-A PREROUTING -d 192.0.2.1/32 -i eth0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80";
const LET_IN = "-A FORWARD -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j ACCEPT";

async function differences(old: Ruleset, other: Ruleset): Promise<readonly WayDifference[]> {
  const found: WayDifference[] = [];
  for await (const each of diffWays([old, other], HOST)) {
    assert.equal(each.found, "difference");
    found.push(each);
  }
  return found;
}

test("another rule of filter is told by the packets as they come in, before they were translated", async () => {
  const found = await differences(RULES(PUBLISHED, ""), RULES(PUBLISHED, LET_IN));
  const through = found.filter(({ region }) => region["dst"]?.includes("192.0.2.1"));
  assert.deepEqual(
    through.map(({ kind, old, new: other, region }) => {
      const { in: ifaces, dst, proto, dport } = region;
      return [kind, old, other, { in: ifaces, dst, proto, dport }];
    }),
    [
      [
        "verdict",
        { verdict: "dropped" },
        { verdict: "forwarded", out: "docker0", to: { address: "172.17.0.2", port: 80 } },
        { in: ["eth0"], dst: ["192.0.2.1"], proto: ["tcp"], dport: ["8080"] },
      ],
    ],
  );
});

test("another destination is told, and another way of saying the same is not", async () => {
  const elsewhere = PUBLISHED.replace("172.17.0.2", "172.17.0.3");
  const all = "-A FORWARD -j ACCEPT";
  const found = await differences(RULES(PUBLISHED, all), RULES(elsewhere, all));
  assert.deepEqual([...new Set(found.map(({ kind }) => kind))], ["nat"]);
  assert.ok(found.every(({ outcomes: [old, other] }) => old.packet.dst !== other.packet.dst));
  const split = `${PUBLISHED.replace("-p tcp", "-s 10.0.0.0/8 -p tcp")}\n${PUBLISHED}`;
  assert.deepEqual(await differences(RULES(PUBLISHED, all), RULES(split, all)), []);
  // the packet has that port already
  const port = (to: string): string =>
    `-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2${to}`;
  assert.deepEqual(await differences(RULES(port(""), all), RULES(port(":80"), all)), []);
});

test("diff --host tells ends, rules and a packet, or that the chains alone differ", async (context) => {
  const rules = printRuleset(RULES(PUBLISHED, ""));
  const files = temporaryFiles(context, {
    old: rules,
    open: printRuleset(RULES(PUBLISHED, LET_IN)),
    sent: rules.replace(":OUTPUT ACCEPT", ":OUTPUT DROP"),
    limited: printRuleset(RULES(PUBLISHED, LET_IN.replace(" -j", " -m limit --limit 1/min -j"))),
    many: rules.replace("172.17.0.2:80", "172.17.0.2-172.17.0.9:80"),
    host: JSON.stringify({
      interfaces: [
        { name: "eth0", addresses: ["192.0.2.1/24"] },
        { name: "docker0", addresses: ["172.17.0.1/16"] },
      ],
    }),
  });
  const ask = (other: string, ...args: readonly string[]): ReturnType<typeof verdictree> =>
    verdictree("diff", files.old, other, "--host", files.host, ...args);
  assert.deepEqual(await ask(files.old), {
    ...{ code: 0, stdout: "equal: no packet is treated otherwise (proved)\n", stderr: "" },
  });
  const { code, stdout } = await ask(files.open, "--json");
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const line = lines.find(({ region }) => (region as { dport?: string[] }).dport?.includes("8080"))!;
  assert.deepEqual([code, line["kind"], line["table"], line["chain"]], [1, "verdict", "filter", "FORWARD"]);
  assert.deepEqual(line["old"], { verdict: "dropped", rule: "FORWARD:policy" });
  const to = { address: "172.17.0.2", port: 80 };
  assert.deepEqual(line["new"], { verdict: "forwarded", rule: "FORWARD:1", out: "docker0", to });
  // packets that the host sends do not come in
  const sent = await ask(files.sent);
  assert.equal(sent.code, 1);
  assert.match(
    sent.stdout,
    /^no packet of 40 bytes or more that comes in as the first of its connection ends otherwise; chain by chain:\n/,
  );
  assert.match(sent.stdout, /OUTPUT: verdict: ACCEPT -> DROP/);
  assert.equal((await ask(files.limited)).code, 3);
  const many = await ask(files.many);
  assert.equal(many.code, 3);
  assert.match(many.stdout, /^undecided: .*many:\d+: translation to one of several addresses/);
  assert.equal((await ask(files.open, "--chain", "filter:FORWARD")).code, 2);
});
