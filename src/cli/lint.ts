// lint: a rule set -> findings, each proved; exit 0 if there are none, 1 if there are, 3 if not all could be looked through.

import { Option } from "commander";
import type { Command } from "commander";
import type { RuleRef } from "../classifier.ts";
import { FINDINGS, LINT_BUDGET, lintRuleset } from "../lint/lint.ts";
import type { Finding, LintOptions, Unproved } from "../lint/lint.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import { nameOf, refuseSharedInput } from "./files.ts";
import { loadHost } from "./hosts.ts";
import { Interrupt } from "./interrupt.ts";
import { whole } from "./numbers.ts";
import { nameOfRule, Places } from "./places.ts";
import { Progress } from "./progress.ts";
import { addAskedRules, loadRuleset, rulePaths } from "./rulesets.ts";
import type { AskedRulesOptions } from "./rulesets.ts";
import { sarifOf } from "./sarif.ts";

interface LintCommandOptions extends AskedRulesOptions {
  readonly host?: string;
  readonly budget: number;
  readonly json?: true;
  readonly sarif?: true;
}

const EXAMPLES = `
A finding holds for its rule alone: of two rules that do the same, either may go, not both.
With a host: which ports DNAT sends round an INPUT that would not have let them in.

Examples:
  verdictree lint rules.v4
  verdictree lint rules.v4 --host host.json --sarif > lint.sarif`;

export function registerLint(program: Command): void {
  const command = program
    .command("lint")
    .description(
      "Rules that do nothing: never match, are shadowed or redundant, or lead nowhere. Proved findings only.",
    );
  addAskedRules(command)
    .option("--host <HOST.json>", "interfaces, addresses, routes and sysctls of the host")
    .option(
      "--budget <NODES>",
      "nodes of a table's decision diagram before it is given up",
      whole(1_000, 60_000_000),
      LINT_BUDGET.nodes,
    )
    .option("--json", "a JSON object for each finding")
    .addOption(new Option("--sarif", "one SARIF 2.1.0 log").conflicts("json"))
    .addHelpText("after", EXAMPLES)
    .action(async (rules: string | undefined, options: LintCommandOptions) => {
      process.exitCode = await lint(rules, options, String(program.version()));
    });
}

/** A finding as it stands in the rule file. */
export interface PlacedFinding {
  readonly finding: Finding;
  /** `filter FORWARD:7`, `filter DOCKER`. */
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

async function lint(rules: string | undefined, options: LintCommandOptions, version: string): Promise<number> {
  refuseSharedInput([...rulePaths(rules, options), options.host]);
  const ruleset = await loadRuleset(rules, options);
  const host = options.host === undefined ? {} : { host: await loadHost(options.host) };
  const interrupt = new Interrupt();
  const progress = new Progress("chains", 0, options.quiet !== undefined);
  const places = new Places(ruleset);
  const findings: PlacedFinding[] = [];
  const unproved: Unproved[] = [];
  try {
    const settings: LintOptions = {
      ...host,
      budget: { ...LINT_BUDGET, nodes: options.budget },
      signal: interrupt.signal,
      progress: (done, all) => {
        progress.update(done, `of ${all}`);
      },
    };
    for await (const each of lintRuleset(ruleset, settings)) {
      progress.stop();
      if (each.found === "undecided") {
        unproved.push(each);
        if (options.sarif === undefined) process.stdout.write(undecidedLine(each, options));
        continue;
      }
      const placed = placedIn(ruleset, places, each);
      findings.push(placed);
      if (options.sarif === undefined)
        process.stdout.write(options.json === undefined ? forPeople(placed) : forMachines(placed));
    }
  } finally {
    progress.stop();
    interrupt.release();
  }
  if (options.sarif !== undefined)
    process.stdout.write(
      `${JSON.stringify(sarifOf(findings, unproved, version, interrupt.signal.aborted), null, 2)}\n`,
    );
  if (interrupt.signal.aborted) return 130;
  if (options.json === undefined && options.sarif === undefined)
    process.stdout.write(
      `${findings.length === 0 ? "no finding" : `${findings.length} finding${findings.length === 1 ? "" : "s"}`}\n`,
    );
  return unproved.length > 0 ? 3 : findings.length > 0 ? 1 : 0;
}

/** A chain stands where its first rule does, or else its table. */
function placedIn(ruleset: Ruleset, places: Places, finding: Finding): PlacedFinding {
  const { table, chain, number } = finding;
  if (number !== null) {
    const ref: RuleRef = { table, chain, number };
    const { position, text } = places.ruleOf(ref)!;
    return { finding, name: nameOfRule(ref), file: nameOf(position.file), line: position.line, text: text.trim() };
  }
  const { position } = places.chainOf(table, chain).rules[0] ?? ruleset.tables.find(({ name }) => name === table)!;
  return {
    finding,
    name: `${table} ${chain}`,
    file: nameOf(position.file),
    line: position.line,
    text: `chain ${chain}`,
  };
}

function forPeople({ finding: { kind, by, witness }, name, file, line, text }: PlacedFinding): string {
  const because = by.length === 0 ? "" : ` (${by.map(shortName).join(", ")})`;
  const shown = witness === undefined ? "" : `\n    such as ${JSON.stringify(witness)}`;
  return `${name} (${file}:${line}): ${kind}: ${FINDINGS[kind]}${because}\n    ${text}${shown}\n`;
}

function forMachines({ finding: { kind, by, witness }, name, file, line, text }: PlacedFinding): string {
  const shown = witness === undefined ? {} : { witness };
  return `${JSON.stringify({ rule: name, file, line, finding: kind, by: by.map(shortName), text, ...shown })}\n`;
}

function undecidedLine({ table, chain, reason }: Unproved, { json }: LintCommandOptions): string {
  if (json !== undefined) return `${JSON.stringify({ finding: "undecided", table, chain, reason })}\n`;
  return `${table} ${chain ?? "published ports"}: undecided: ${reason}\n`;
}

export function shortName({ chain, number }: RuleRef): string {
  return `${chain}:${number}`;
}
