// tree: what the tree is like by which bench classifies a chain or a filter set, and where the work of its look-ups goes.

import { basename } from "node:path";
import type { Command } from "commander";
import type { Batch } from "../engine/batch.ts";
import type { Asked, PartWalk, Trees, TreeShape } from "../engine/shape.ts";
import { benchChain, benchClassbench } from "../firewall.ts";
import type { Host } from "../host/host.ts";
import * as layout from "../layout.ts";
import { isClassbench, parseClassbench } from "../rules/classbench.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import { chainNamed, chainsOf, refuseForFilterSet } from "./chains.ts";
import type { NamedChain } from "./chains.ts";
import { UsageError } from "./errors.ts";
import { readText, refuseSharedInput, writeText } from "./files.ts";
import { loadHost } from "./hosts.ts";
import { grouped, percent, whole } from "./numbers.ts";
import { Places } from "./places.ts";
import { addAskedRules, parseTexts, readRules, rulePaths } from "./rulesets.ts";
import type { AskedRulesOptions } from "./rulesets.ts";
import { drawTrace, parseTrace } from "./trace.ts";
import { drawTree } from "./treesvg.ts";
import { ruleText } from "./wording.ts";

interface TreeOptions extends AskedRulesOptions {
  readonly chain?: string;
  readonly host?: string;
  readonly trace?: string;
  readonly packets: number;
  readonly seed: number;
  readonly json?: true;
  readonly svg?: string;
}

const DEFAULT_PACKETS = 20_000;
/** Clauses that are named, of those that stand in most leaves. */
const MOST_NAMED = 10;
const MOST_CALLED_DRAWN = 8;

const EXAMPLES = `
Examples:
  verdictree tree rules.v4 --chain filter:FORWARD --svg forward.svg
  verdictree tree acl1_10k.rules.gz --trace acl1_10k.trace.gz`;

export function registerTree(program: Command): void {
  const command = program
    .command("tree")
    .description("What the tree is like by which bench classifies, and where the work of its look-ups goes.");
  addAskedRules(command)
    .option("--chain <TABLE:CHAIN>", "a built-in chain (default: all that have rules)")
    .option("--host <HOST.json>", "whose interfaces and addresses the rules ask")
    .option("--trace <FILE>", "packets to go through it, a line each: src dst sport dport proto, in decimal numbers")
    .option("--packets <N>", "so many packets of the trace, or drawn", whole(1, 1e6), DEFAULT_PACKETS)
    .option("--seed <N>", "of drawn packets", whole(0, 0xffffffff), 1)
    .option("--json", "a JSON object for each chain, one a line")
    .option("--svg <FILE>", "draw the tree of the one chain, or filter set")
    .addHelpText("after", EXAMPLES)
    .action(async (rules: string | undefined, options: TreeOptions) => {
      process.exitCode = await tree(rules, options);
    });
}

/** A tree and packets. */
interface Subject {
  readonly name: string;
  readonly batch: Batch;
  /** What people call a clause; null: nothing that a rule says. */
  readonly clauseText: (tree: number, clause: number) => string | null;
}

async function tree(positional: string | undefined, options: TreeOptions): Promise<number> {
  refuseSharedInput([...rulePaths(positional, options), options.trace, options.host]);
  const texts = await readRules(positional, options);
  const [only] = texts;
  const trace = options.trace === undefined ? null : await readText(options.trace);
  const subjects =
    texts.length === 1 && isClassbench(only!.text)
      ? [filterSet(only!.text, only!.file, trace, options)]
      : chainSubjects(
          await parseTexts(texts, options),
          options.host === undefined ? null : await loadHost(options.host),
          trace,
          options,
        );
  if (options.svg !== undefined && subjects.length !== 1) {
    throw new UsageError(`--svg draws one tree, and there are ${subjects.length}: name a chain with --chain`);
  }
  const reports = subjects.map((subject) => new Report(subject));
  if (options.svg !== undefined) writeDrawing(options.svg, reports[0]!);
  const said = reports.map((report) =>
    options.json === undefined ? report.forPeople() : `${JSON.stringify(report.forMachines())}\n`,
  );
  process.stdout.write(said.join(options.json === undefined ? "\n" : ""));
  return 0;
}

function filterSet(text: string, file: string, trace: string | null, options: TreeOptions): Subject {
  refuseForFilterSet(options);
  const rules = parseClassbench(text, file);
  const batch = benchClassbench(rules);
  batch.load(
    trace === null
      ? drawTrace(rules, options.packets, options.seed)
      : parseTrace(trace, options.trace!, options.packets),
  );
  const lines = text.split("\n").filter((line) => line.startsWith("@"));
  return {
    ...{ name: basename(file), batch },
    clauseText: (_, clause) => `rule ${clause + 1}  ${lines[clause]!.trim().replace(/\s+/g, " ")}`,
  };
}

function chainSubjects(ruleset: Ruleset, host: Host | null, trace: string | null, options: TreeOptions): Subject[] {
  const chains = options.chain === undefined ? chainsOf(ruleset) : [chainNamed(options.chain, ruleset)];
  if (chains.length === 0) throw new UsageError("no built-in chain has rules");
  return chains.map((chain) => chainSubject(ruleset, chain, host, trace, options));
}

function chainSubject(
  ruleset: Ruleset,
  { table, hook }: NamedChain,
  host: Host | null,
  trace: string | null,
  options: TreeOptions,
): Subject {
  const { batch, rules, draw } = benchChain(ruleset, table, hook, { host, seed: options.seed });
  if (trace === null) draw(options.packets, { seed: options.seed });
  else batch.load(parseTrace(trace, options.trace!, options.packets));
  const places = new Places(ruleset);
  return {
    ...{ name: `${table}:${hook}`, batch },
    clauseText: (tree, clause) => {
      const { rule } = [batch.program, ...batch.program.subs][tree]!.clauses[clause]!;
      return rule === layout.NONE ? null : ruleText(rules.refOf(rule), places);
    },
  };
}

const KINDS = {
  few: "tables for each field, whose boxes are all compared at once (a program of few boxes)",
  first: "tree whose first box that holds is the answer",
  clauses: "tree to clauses that are gone through one by one",
} as const;

/** What trees are like, and what packets do in them. */
class Report {
  readonly subject: Subject;
  readonly trees: Trees;
  readonly packets: number;
  /** Of all packets. */
  readonly walks: readonly PartWalk[];

  constructor(subject: Subject) {
    this.subject = subject;
    const { batch } = subject;
    this.trees = batch.trees();
    this.packets = batch.count;
    const records = batch.records();
    this.walks = Array.from({ length: batch.count }, (_, i) =>
      this.trees.walk(records.subarray(i * layout.FIELD_COUNT, (i + 1) * layout.FIELD_COUNT)),
    ).flatMap(({ parts }) => parts);
  }

  walksIn(tree: number, part: number): readonly PartWalk[] {
    return this.walks.filter((walk) => walk.tree === tree && walk.part === part);
  }

  /** For each packet. */
  mean(of: (walk: PartWalk) => number): number {
    return this.walks.reduce((sum, walk) => sum + of(walk), 0) / this.packets;
  }

  forPeople(): string {
    const { name, batch } = this.subject;
    const [own, ...called] = this.trees.shapes;
    const { kind, clauses, boxes, fields } = own!;
    const lines = [
      `${name}: ${KINDS[kind]}`,
      `  ${grouped(clauses)} clauses, ${grouped(boxes)} boxes` +
        (called.length === 0
          ? ""
          : `; and ${grouped(called.length)} trees of chains that it calls: ${grouped(sum(called, (tree) => tree.clauses))} ` +
            `clauses, ${grouped(sum(called, (tree) => tree.boxes))} boxes`) +
        `; ${grouped(batch.treeBytes)} bytes`,
      ...(fields.length === 0 ? [] : [`  fields: ${fields.map(fieldName).join(", ")}`]),
      `  a packet: ${this.mean(({ nodes }) => nodes.length).toFixed(2)} nodes, ` +
        `${this.mean(({ compared }) => compared).toFixed(2)} boxes compared, ` +
        `${this.mean(({ held }) => held).toFixed(2)} clauses that hold (${grouped(this.packets)} packets)`,
    ];
    if (kind !== "few") own!.parts.forEach((_, part) => lines.push("", ...this.#partLines(0, part)));
    if (called.length > 0) {
      const looks = this.walks.filter(({ tree }) => tree > 0);
      lines.push(
        "",
        `  trees of called chains: ${looksText(looks.length, this.packets)}, ` +
          `${(sum(looks, ({ compared }) => compared) / Math.max(1, looks.length)).toFixed(2)} boxes compared each time`,
      );
    }
    const replicated = this.#replicated();
    if (replicated.length > 0) {
      lines.push("", "  in most leaves:");
      for (const { leaves, text } of replicated) lines.push(`    ${grouped(leaves).padStart(10)}  ${text}`);
    }
    return `${lines.join("\n")}\n`;
  }

  #partLines(tree: number, number: number): readonly string[] {
    const { parts } = this.trees.shapes[tree]!;
    const part = parts[number]!;
    const walks = this.walksIn(tree, number);
    const root = walks[0]?.nodes[0];
    const packets = packetsAt(walks);
    return [
      `  part ${number + 1} of ${parts.length}: ${looksText(walks.length, this.packets)}` +
        (root === undefined ? "" : `; its root asks ${askedText(this.trees.askedAt(tree, root))}`),
      `    ${grouped(part.nodes)} nodes, ${grouped(part.cells)} cells, ${grouped(part.leaves)} different leaves of ` +
        `${(part.leafClauses / Math.max(1, part.leaves)).toFixed(1)} boxes, ${grouped(part.longestLeaf)} at the most`,
      "    nodes passed      leaves    packets",
      ...part.depths.map((leaves, depth) => {
        const share = percent(packets[depth] ?? 0, this.packets);
        return `    ${String(depth).padStart(12)}  ${grouped(leaves).padStart(10)}  ${share.padStart(9)}`;
      }),
    ];
  }

  forMachines(): object {
    const { name, batch } = this.subject;
    return {
      ...{ name, tree_bytes: batch.treeBytes, packets: this.packets },
      nodes_passed: round(this.mean(({ nodes }) => nodes.length)),
      boxes_compared: round(this.mean(({ compared }) => compared)),
      clauses_held: round(this.mean(({ held }) => held)),
      trees: this.trees.shapes.map((shape, tree) => this.#treeForMachines(shape, tree)),
      replicated: this.#replicated(),
    };
  }

  #treeForMachines({ kind, clauses, boxes, fields, parts }: TreeShape, tree: number): object {
    return {
      ...{ kind, clauses, boxes },
      ...(fields.length === 0 ? {} : { fields: fields.map(fieldName) }),
      parts: parts.map((part, number) => {
        const walks = this.walksIn(tree, number);
        const packets = packetsAt(walks);
        return {
          packets: walks.length,
          ...{ nodes: part.nodes, cells: part.cells, leaves: part.leaves },
          ...{ leaf_boxes: part.leafClauses, longest_leaf: part.longestLeaf },
          depths: part.depths.map((leaves, depth) => ({ leaves, packets: packets[depth] ?? 0 })),
        };
      }),
    };
  }

  /** Of all trees together. */
  #replicated(): readonly { leaves: number; text: string }[] {
    const all = this.trees.shapes.flatMap(({ replicated }, tree) => replicated.map((each) => ({ tree, ...each })));
    all.sort((a, b) => b.leaves - a.leaves || a.tree - b.tree || a.clause - b.clause);
    // a rule that is written out several times is named where it stands in most leaves
    const named = new Map<string, number>();
    for (const { tree, clause, leaves } of all) {
      const text = this.subject.clauseText(tree, clause);
      if (text !== null && leaves > 1 && !named.has(text)) named.set(text, leaves);
    }
    return [...named].map(([text, leaves]) => ({ leaves, text })).slice(0, MOST_NAMED);
  }
}

/** A tree is looked into again when a call comes back. */
function looksText(looks: number, packets: number): string {
  return `looked into ${(looks / packets).toFixed(2)} times a packet`;
}

/** How many packets go through so many nodes. */
function packetsAt(walks: readonly PartWalk[]): readonly number[] {
  const most = walks.reduce((deepest, { nodes }) => Math.max(deepest, nodes.length), 0);
  const counts = new Array<number>(most + 1).fill(0);
  for (const { nodes } of walks) counts[nodes.length]!++;
  return counts;
}

function sum<T>(list: readonly T[], of: (each: T) => number): number {
  return list.reduce((total, each) => total + of(each), 0);
}

const FIELD_NAMES = [
  ...["source", "destination", "source port", "destination port", "protocol", "in", "out", "state", "TCP flags"],
  ...["ICMP type", "mark", "transport", "TTL", "TOS", "length", "facts"],
];

function fieldName(field: number): string {
  return FIELD_NAMES[field]!;
}

/** `destination 15-9, destination port 13` */
function askedText(asked: readonly Asked[]): string {
  const text = asked.map(({ field, bits }) => `${fieldName(field)} ${runsOf(bits).join(" ")}`).join(", ");
  return text === "" ? "nothing" : `bits ${text}`;
}

/** @param bits descending */
function runsOf(bits: readonly number[]): readonly string[] {
  const runs: { hi: number; lo: number }[] = [];
  for (const bit of bits) {
    const last = runs.at(-1);
    if (last?.lo === bit + 1) last.lo = bit;
    else runs.push({ hi: bit, lo: bit });
  }
  return runs.map(({ hi, lo }) => (hi === lo ? String(hi) : `${hi}-${lo}`));
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** All parts of its own tree, and those of called chains that are looked into most. */
function writeDrawing(path: string, report: Report): void {
  const { subject, trees, packets } = report;
  const places = trees.shapes.flatMap(({ parts }, tree) => parts.map((_, part) => ({ tree, part })));
  const drawn = places.map(({ tree, part }) => ({ tree, part, walks: report.walksIn(tree, part) }));
  const called = drawn.filter(({ tree }) => tree > 0).sort((a, b) => b.walks.length - a.walks.length);
  const parts = [...drawn.filter(({ tree }) => tree === 0), ...called.slice(0, MOST_CALLED_DRAWN)].map(
    ({ tree, part, walks }) => {
      const { kind, boxes } = trees.shapes[tree]!;
      const what = kind === "few" ? `all ${boxes} boxes at once` : `part ${part + 1}`;
      const label = (node: number): string => askedText(trees.askedAt(tree, node));
      return {
        title: `${tree === 0 ? "" : "called chain, "}${what}: ${looksText(walks.length, packets)}`,
        walks,
        label,
      };
    },
  );
  const title = `${subject.name}: packets from left to right, nodes from top to bottom, below them the boxes compared`;
  writeText(path, drawTree({ title, packets, parts }));
}
