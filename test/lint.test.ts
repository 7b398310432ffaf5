// verdictree lint: each kind of finding, and what it tells proved by the diff with the rule left out.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { sarifOf } from "../src/cli/sarif.ts";
import { diffRulesets } from "../src/diff/diff.ts";
import { FINDINGS, lintRuleset } from "../src/lint/lint.ts";
import type { Finding } from "../src/lint/lint.ts";
import { withoutRule } from "../src/lint/published.ts";
import { RuleError } from "../src/rules/error.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import { rulesOf } from "../src/rules/ruleset.ts";
import type { Ruleset } from "../src/rules/ruleset.ts";
import { drawHost } from "./support/arbitrary-host.ts";
import { drawRuleset } from "./support/arbitrary-rules.ts";
import { temporaryFiles, verdictree } from "./support/command.ts";
import { unshared } from "./support/diff-brute.ts";
import { Draw } from "./support/draw.ts";
import { sarifErrors } from "./support/sarif.ts";

const WORLDS = Number(process.env["VERDICTREE_LINT_WORLDS"] ?? 60);
const SEED = Number(process.env["VERDICTREE_LINT_SEED"] ?? 1);
const BUDGET = { nodes: 4_000_000, steps: 40_000_000 };
const FOLDER = new URL("../../shared/data/rulesets", import.meta.url).pathname;

const FILTER = (chains: readonly string[], rules: readonly string[]): string =>
  [
    "*filter",
    ":INPUT DROP [0:0]",
    ":FORWARD ACCEPT [0:0]",
    ":OUTPUT ACCEPT [0:0]",
    ...chains.map((name) => `:${name} - [0:0]`),
    ...rules,
    "COMMIT",
    "",
  ].join("\n");

const CASES: readonly { readonly name: string; readonly text: string; readonly told: readonly string[] }[] = [
  {
    name: "a rule that others take everything from",
    text: FILTER(
      [],
      [
        "-A INPUT -s 10.0.0.0/9 -j ACCEPT",
        "-A INPUT -s 10.128.0.0/9 -j REJECT",
        "-A INPUT -s 10.0.0.0/8 -p tcp -j ACCEPT",
      ],
    ),
    told: ["shadowed INPUT:3 by INPUT:1 INPUT:2"],
  },
  {
    name: "what cannot be",
    text: FILTER([], ["-A OUTPUT -m mark ! --mark 0x0/0x0 -j DROP", "-A INPUT -m mark --mark 0x2/0x1 -j ACCEPT"]),
    told: ["never INPUT:1 by ", "never OUTPUT:1 by "],
  },
  {
    name: "what the way to a chain excludes",
    text: FILTER(
      ["web"],
      ["-A INPUT -p tcp -j web", "-A web -p udp -j ACCEPT", "-A web -p tcp -m tcp --dport 80 -j ACCEPT"],
    ),
    told: ["never web:1 by "],
  },
  {
    name: "what the policy does as well, and a RETURN at the end",
    text: FILTER(
      ["c"],
      ["-A INPUT -p tcp -j c", "-A INPUT -p tcp -j DROP", "-A c -s 10.0.0.1 -j ACCEPT", "-A c -j RETURN"],
    ),
    told: ["redundant INPUT:2 by INPUT:policy", "redundant c:2 by "],
  },
  {
    name: "chains without rules, and chains to which nothing comes",
    text: FILTER(
      ["empty", "alone", "loop"],
      ["-A INPUT -j empty", "-A alone -j loop", "-A loop -j alone", "-A FORWARD -g empty"],
    ),
    told: [
      "loop loop:1 by alone:1",
      "nowhere INPUT:1 by INPUT:policy",
      "redundant FORWARD:1 by FORWARD:policy",
      "unreachable alone by ",
      "unreachable loop by ",
    ],
  },
  {
    name: "marks that later rules ask for, and marks that are there already",
    text: FILTER(
      [],
      [
        "-A INPUT -p tcp -j MARK --set-xmark 0x1/0xffffffff",
        "-A INPUT -p tcp -m mark --mark 0x1 -j MARK --set-xmark 0x1/0xffffffff",
        "-A INPUT -m mark --mark 0x1 -j ACCEPT",
      ],
    ),
    told: ["redundant INPUT:2 by INPUT:3"],
  },
  {
    name: "lists, buckets and logs of what is dropped in any case",
    text: FILTER(
      [],
      [
        "-A INPUT -p tcp -m recent --set --name seen --mask 255.255.255.255 --rsource",
        "-A INPUT -p udp -m limit --limit 1/sec -j LOG",
        "-A INPUT -p udp -m udp --dport 7 -j DROP",
        "-A INPUT -p icmp -m limit --limit 1/sec -j DROP",
        "-A INPUT -p udp -m limit --limit 3/sec -m udp --dport 53 -j ACCEPT",
      ],
    ),
    told: ["redundant INPUT:4 by INPUT:policy"],
  },
  {
    name: "a payload that was looked for before",
    text: FILTER(
      [],
      ['-A INPUT -m string --algo bm --string "x" -j ACCEPT', '-A INPUT -m string --algo bm --string "x" -j REJECT'],
    ),
    told: ["shadowed INPUT:2 by INPUT:1"],
  },
];

for (const { name, text, told } of CASES) {
  test(`lint: ${name}`, async () => {
    const found = await findingsOf(parseRuleset(text, { file: "rules" }));
    const words = found.map(({ kind, chain, number, by }) => {
      const place = number === null ? chain : `${chain}:${number}`;
      return `${kind} ${place} by ${by.map((ref) => `${ref.chain}:${ref.number}`).join(" ")}`;
    });
    assert.deepEqual(words.sort(), told);
  });
}

async function findingsOf(ruleset: Ruleset): Promise<readonly Finding[]> {
  const found: Finding[] = [];
  for await (const each of lintRuleset(ruleset, { budget: BUDGET })) if (each.found === "finding") found.push(each);
  return found;
}

/** What the diff says of the rule set without the rule; null: its budget did not suffice. */
async function removalChanges(ruleset: Ruleset, finding: Finding): Promise<string | null> {
  const { table, chain, number } = finding;
  const without = withoutRule(ruleset, { table, chain, number: number! });
  for await (const each of diffRulesets(ruleset, without, { budget: BUDGET }))
    return each.found === "undecided" ? null : JSON.stringify(each);
  return "";
}

/** More than a small budget is for. */
const SCATTERED = FILTER(
  [],
  Array.from(
    { length: 200 },
    (_, i) => `-A INPUT -s 10.${i}.0.0/16 -d 10.${255 - i}.0.0/16 -p tcp -m tcp --dport ${i}:${i + 500} -j ACCEPT`,
  ),
);

const SHADOWED = FILTER([], ["-A INPUT -p tcp -j ACCEPT", "-A INPUT -p tcp -m tcp --dport 22 -j REJECT"]);

test("lint tells machines where a finding stands, and exits with 1", async (context) => {
  const { rules } = temporaryFiles(context, { rules: SHADOWED });
  const { code, stdout } = await verdictree("lint", rules, "--json");
  assert.equal(code, 1);
  assert.deepEqual(JSON.parse(stdout), {
    ...{ rule: "filter INPUT:2", file: rules, line: 6, finding: "shadowed", by: ["INPUT:1"] },
    text: "-A INPUT -p tcp -m tcp --dport 22 -j REJECT",
  });
});

test("lint writes a SARIF log in which results name their rules and places", async (context) => {
  const { rules } = temporaryFiles(context, { rules: SHADOWED });
  const { code, stdout } = await verdictree("lint", rules, "--sarif");
  assert.equal(code, 1);
  interface Log {
    readonly version: string;
    readonly runs: readonly {
      readonly tool: { readonly driver: { readonly name: string; readonly rules: readonly { readonly id: string }[] } };
      readonly results: readonly {
        readonly ruleId: string;
        readonly ruleIndex: number;
        readonly locations: readonly {
          readonly physicalLocation: {
            readonly artifactLocation: { readonly uri: string };
            readonly region: { readonly startLine: number };
          };
        }[];
      }[];
    }[];
  }
  const { version, runs } = JSON.parse(stdout) as Log;
  const [{ tool, results }] = runs as [Log["runs"][number]];
  assert.deepEqual([version, tool.driver.name, results.length], ["2.1.0", "verdictree", 1]);
  const { ruleId, ruleIndex, locations } = results[0]!;
  assert.equal(tool.driver.rules[ruleIndex]!.id, ruleId);
  const { artifactLocation, region } = locations[0]!.physicalLocation;
  assert.deepEqual([new URL(artifactLocation.uri).pathname, region.startLine], [rules, 6]);
});

test("logs are valid SARIF 2.1.0: findings of each kind, none, what is undecided, and files of odd names", async (context) => {
  const files = temporaryFiles(context, {
    "with blanks, 100% ä#?.v4": SHADOWED,
    good: FILTER([], ["-A INPUT -p tcp -j ACCEPT"]),
    large: SCATTERED,
    closed: readFileSync("examples/docker-host/rules.txt", "utf8").replace("-P INPUT ACCEPT", "-P INPUT DROP"),
  });
  const told: string[] = [];
  const check = async (code: number, ...args: readonly string[]): Promise<void> => {
    const ran = await verdictree("lint", ...args, "--sarif");
    assert.equal(ran.code, code, ran.stderr);
    const log = JSON.parse(ran.stdout) as {
      readonly runs: readonly { readonly results: readonly { ruleId: string }[] }[];
    };
    assert.deepEqual(sarifErrors(log), [], args.join(" "));
    told.push(...log.runs[0]!.results.map(({ ruleId }) => ruleId));
  };
  await check(1, files["with blanks, 100% ä#?.v4"]);
  await check(0, files.good);
  await check(3, files.large, "--budget", "2000");
  await check(1, files.closed, "--host", "examples/docker-host/host.json");
  for (const { text, told: expected } of CASES) {
    if (expected.every((each) => told.includes(each.split(" ")[0]!))) continue;
    await check(1, temporaryFiles(context, { rules: text }).rules);
  }
  assert.deepEqual([...new Set(told)].sort(), Object.keys(FINDINGS).sort());
});

test("a log that was interrupted says so", () => {
  const logOf = (interrupted: boolean): { runs: { invocations: { executionSuccessful: boolean }[] }[] } =>
    sarifOf([], [], "1.0.0", interrupted) as ReturnType<typeof logOf>;
  for (const interrupted of [false, true]) {
    const log = logOf(interrupted);
    assert.deepEqual(sarifErrors(log), []);
    assert.equal(log.runs[0]!.invocations[0]!.executionSuccessful, !interrupted);
  }
});

test("the schema finds what is not SARIF 2.1.0", () => {
  assert.deepEqual(sarifErrors({ version: "2.1.0", runs: [] }), []);
  assert.notDeepEqual(sarifErrors({ version: "2.0.0", runs: [] }), []);
  const results = [{ message: { text: "" }, level: "loud" }];
  assert.notDeepEqual(sarifErrors({ version: "2.1.0", runs: [{ tool: { driver: { name: "n" } }, results }] }), []);
});

test("lint exits with 0 where nothing is found, and with 3 where its budget does not suffice", async (context) => {
  const { good, large } = temporaryFiles(context, {
    good: FILTER([], ["-A INPUT -p tcp -j ACCEPT"]),
    large: SCATTERED,
  });
  const { code, stdout } = await verdictree("lint", good);
  assert.deepEqual([code, stdout], [0, "no finding\n"]);
  assert.equal((await verdictree("lint", large, "--budget", "2000", "--json")).code, 3);
  assert.equal((await verdictree("lint", large, "--json", "--sarif")).code, 2);
});

test("ports that DNAT sends round a closed INPUT are told with a packet; those that INPUT lets in are not", async (context) => {
  const rules = readFileSync("examples/docker-host/rules.txt", "utf8");
  const files = temporaryFiles(context, {
    closed: rules.replace("-P INPUT ACCEPT", "-P INPUT DROP"),
    half: rules
      .replace("-P INPUT ACCEPT", "-P INPUT DROP")
      .replace("-A FORWARD", "-A INPUT -p tcp -m tcp --dport 32769 -j ACCEPT\n-A FORWARD"),
  });
  const publishedOf = async (path: string): Promise<readonly unknown[]> => {
    const { stdout } = await verdictree("lint", path, "--host", "examples/docker-host/host.json", "--json");
    const lines = stdout.split("\n").filter((line) => line !== "");
    return lines
      .map((line) => JSON.parse(line) as { rule: string; finding: string; by: string[]; witness?: { dport: number } })
      .filter(({ finding }) => finding === "published")
      .map(({ rule, by, witness }) => [rule, by.join(), witness!.dport]);
  };
  assert.deepEqual(await publishedOf(files.closed), [
    ["nat DOCKER:2", "INPUT:policy", 32768],
    ["nat DOCKER:3", "INPUT:policy", 32769],
  ]);
  assert.deepEqual(await publishedOf(files.half), [["nat DOCKER:2", "INPUT:policy", 32768]]);
  assert.deepEqual(await publishedOf("examples/docker-host/rules.txt"), []);
});

test("a cluster's services are looked through within a budget that grows little faster than they do", async () => {
  const services = Array.from({ length: 120 }, (_, i) => i);
  const text = [
    ...["*nat", ":PREROUTING ACCEPT", ":SERVICES -", ":MASQ -"],
    ...services.map((i) => `:SVC-${i} -\n:SEP-${i} -`),
    ...["-A PREROUTING -j SERVICES", "-A MASQ -j MARK --set-xmark 0x4000/0x4000"],
    ...services.flatMap((i) => [
      `-A SERVICES -d 10.96.0.${i}/32 -p tcp -m tcp --dport 80 -j SVC-${i}`,
      `-A SVC-${i} ! -s 10.244.0.0/16 -d 10.96.0.${i}/32 -p tcp -m tcp --dport 80 -j MASQ`,
      `-A SVC-${i} -j SEP-${i}`,
      `-A SEP-${i} -s 10.244.0.${i}/32 -j MASQ`,
      `-A SEP-${i} -p tcp -m tcp -j DNAT --to-destination 10.244.0.${i}:8080`,
    ]),
    ...["COMMIT", ""],
  ].join("\n");
  const budget = { nodes: 600_000, steps: 2_000_000 };
  for await (const each of lintRuleset(parseRuleset(text, { file: "rules" }), { budget }))
    assert.fail(JSON.stringify(each));
});

test("without a rule of which something is found nothing changes, in random rule sets", async () => {
  let confirmed = 0;
  for (let world = 0; world < WORLDS; world++) {
    const draw = new Draw(SEED * 500_000 + world);
    const { surroundings } = drawHost(draw);
    const ruleset = unshared(
      drawRuleset(draw, surroundings, { clock: true, chance: true, guardsInForwardOnly: false }),
    );
    let findings: readonly Finding[];
    try {
      findings = await findingsOf(ruleset);
    } catch (error) {
      if (error instanceof RuleError) continue;
      throw error;
    }
    for (const finding of findings.filter(({ number }) => number !== null)) {
      const changes = await removalChanges(ruleset, finding);
      if (changes === null) continue;
      assert.equal(changes, "", `world ${world}: ${JSON.stringify(finding)}`);
      confirmed++;
    }
  }
  assert.ok(confirmed > WORLDS, `${confirmed} findings confirmed`);
});

const LARGEST = Number(process.env["VERDICTREE_LINT_RULES"] ?? 80);
/** Of one file. */
const MOST_CONFIRMED = 6;

test(
  "without a rule of which something is found nothing changes, in rule sets that people run",
  { skip: existsSync(FOLDER) ? false : "needs ../shared/data/rulesets" },
  async () => {
    let confirmed = 0;
    for (const path of ["real", "generated", "suites"].flatMap((name) =>
      readdirSync(join(FOLDER, name)).map((file) => join(FOLDER, name, file)),
    )) {
      let ruleset: Ruleset;
      let findings: readonly Finding[];
      try {
        ruleset = parseRuleset(readFileSync(path, "utf8"), { file: path });
        if (ruleset.family === 6 || rulesOf(ruleset).length > LARGEST) continue;
        findings = await findingsOf(ruleset);
      } catch (error) {
        if (error instanceof RuleError) continue;
        throw error;
      }
      for (const finding of findings.filter(({ number }) => number !== null).slice(0, MOST_CONFIRMED)) {
        const changes = await removalChanges(ruleset, finding);
        if (changes === null) continue;
        assert.equal(changes, "", `${path}: ${JSON.stringify(finding)}`);
        confirmed++;
      }
    }
    assert.ok(confirmed > 100, `${confirmed} findings confirmed`);
  },
);
