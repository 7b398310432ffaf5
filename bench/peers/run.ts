// Filter sets classified by verdictree and by DPDK's rte_acl, in turn on one core: `npm run bench:peers`.
//
//     npm run bench:peers -- [--data FOLDER] [--sets acl1_1k,fw1_10k] [--rounds 3] [--cpu 1] [--record]
//
// The sets are those of a folder, NAME.rules.gz with NAME.trace.gz, or seeded ones (../filterset.ts): NAME is then family, seed
// and size, such as fw2_10000. Traces are shuffled, so that no packet profits from the one before. Each round measures first
// the one, then the other; of rte_acl the variant counts that is fastest, on small sets with tables as large as it likes.
// Every answer is checked: ours against the trace's sixth column where it has one, and rte_acl's against ours.
//
// --record appends the results to results.jsonl beside this file; each run tells how it stands to the last one recorded.
// Needs Linux, gcc, taskset and the package libdpdk-dev of Debian or Ubuntu.

import { execFileSync, spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gunzipSync } from "node:zlib";
import { drawFilterSet, drawTrace, FAMILIES, formatRule } from "../filterset.ts";
import { random } from "../random.ts";

const { values: options } = parseArgs({
  options: {
    data: { type: "string" },
    sets: { type: "string" },
    rounds: { type: "string", default: "3" },
    cpu: { type: "string", default: "1" },
    record: { type: "boolean", default: false },
  },
});

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const RECORD = here("results.jsonl");
const OURS = here("../../dist/cli/main.js");
const PACKETS = 200_000;
const SEEDED = "acl1_1000,fw1_1000,ipc1_1000,acl1_10000,fw1_10000,ipc1_10000,acl1_100000,fw1_100000,ipc1_100000";
/** Sets of fewer rules: rte_acl is asked for large tables too, in MB. */
const SMALL_RULES = 2000;
const LARGE_TABLES = 4000;
/** Variants of our width: 128 bits. */
const SAME_WIDTH = "sse";

interface Result {
  readonly commit: string;
  readonly cpu: string;
  /** Of the last minute: above 1 others were at work, and the rates are low. */
  readonly load: number;
  readonly set: string;
  readonly rules: number;
  /** Million packets/s: medians of the rounds. */
  readonly mpps: number;
  readonly rte_best: number;
  readonly rte_sse: number;
  readonly ratio: number;
  readonly build_ms: number;
  readonly rte_build_ms: number;
  readonly bytes_a_rule: number;
  readonly rte_bytes_a_rule: number;
}

interface Variant {
  readonly algorithm: string;
  readonly available: boolean;
  readonly mlookups_per_s: number;
  readonly build_s: number;
  readonly table_mb: number;
}

const folder = mkdtempSync(join(tmpdir(), "peers-"));
try {
  main();
} finally {
  rmSync(folder, { recursive: true });
}

function main(): void {
  const peer = compile();
  const names = options.sets ?? (options.data === undefined ? SEEDED : setsOf(options.data));
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: here("."), encoding: "utf8" }).trim();
  console.log(`${cpus()[0]?.model ?? "unknown CPU"}, one core, Node ${process.version}; million packets/s`);
  console.log(row("set", ["ours", "rte_acl", "its SSE", "ratio", "last", "build ms", "its", "bytes/rule", "its"]));
  const results: Result[] = [];
  for (const set of names.split(",")) {
    const last = lastOf(set);
    const result = { commit, cpu: cpus()[0]?.model ?? "unknown", load: loadavg()[0]!, ...measure(set, peer) };
    results.push(result);
    console.log(
      row(set, [
        result.mpps.toFixed(1),
        result.rte_best.toFixed(1),
        result.rte_sse.toFixed(1),
        result.ratio.toFixed(2),
        last === null ? "-" : last.ratio.toFixed(2),
        result.build_ms.toFixed(0),
        result.rte_build_ms.toFixed(0),
        result.bytes_a_rule.toFixed(0),
        result.rte_bytes_a_rule.toFixed(0),
      ]),
    );
    if (options.record) appendFileSync(RECORD, `${JSON.stringify(result)}\n`);
  }
  const mean = Math.exp(results.reduce((sum, { ratio }) => sum + Math.log(ratio), 0) / results.length);
  console.log(`geometric mean of the ratios: ${mean.toFixed(2)}`);
}

function compile(): string {
  if (spawnSync("pkg-config", ["--exists", "libdpdk"]).status !== 0) {
    throw new Error("DPDK is not there: apt-get install --no-install-recommends libdpdk-dev pkg-config gcc");
  }
  const flags = execFileSync("pkg-config", ["--cflags", "libdpdk"], { encoding: "utf8" }).trim().split(/\s+/);
  const out = join(folder, "rte_acl_bench");
  const own = ["-O3", "-march=native", "-D_GNU_SOURCE"];
  execFileSync("gcc", [...own, ...flags, "-o", out, here("rte_acl_bench.c"), "-lrte_acl", "-lrte_eal", "-lm"]);
  return out;
}

function setsOf(data: string): string {
  const size = (name: string): number => readFileSync(join(data, `${name}.rules.gz`)).length;
  const names = readdirSync(data).flatMap((file) => (file.endsWith(".rules.gz") ? [file.slice(0, -9)] : []));
  return names.sort((a, b) => size(a) - size(b)).join(",");
}

/** Rules, and packets: five columns, or six. */
function load(set: string): { readonly rules: string; readonly packets: string[] } {
  if (options.data !== undefined) {
    const text = (kind: string): string =>
      gunzipSync(readFileSync(join(options.data!, `${set}.${kind}.gz`))).toString();
    return { rules: text("rules"), packets: text("trace").trim().split("\n") };
  }
  const [, name, seed, size] = /^([a-z]+)(\d+)_(\d+)$/.exec(set) ?? [];
  const family = FAMILIES.find((each) => each === name);
  if (family === undefined) throw new Error(`${set} is no family, seed and size, such as fw2_10000`);
  const rules = drawFilterSet(family, Number(size), Number(seed));
  const packets = drawTrace(rules, PACKETS, Number(seed)).map((packet) => packet.join(" "));
  return { rules: `${rules.map(formatRule).join("\n")}\n`, packets };
}

function measure(set: string, peer: string): Omit<Result, "commit" | "cpu" | "load"> {
  const { rules, packets } = load(set);
  const draw = random(1);
  for (let i = packets.length - 1; i > 0; i--) {
    const j = draw.between(0, i);
    [packets[i], packets[j]] = [packets[j]!, packets[i]!];
  }
  const file = (name: string): string => join(folder, name);
  writeFileSync(file("rules"), rules);
  writeFileSync(file("trace"), `${packets.join("\n")}\n`);
  const count = rules.trimEnd().split("\n").length;

  // rte_acl is told our answers as those it is to give
  ours(["--runs", "1", "--out", file("answers")]);
  const answers = readFileSync(file("answers"), "utf8").trimEnd().split("\n").map(Number);
  const expected = packets.map((packet, i) => {
    const [src, dst, sport, dport, proto, right] = packet.split(/\s+/);
    const answer = String(answers[i]! - 1);
    if (right !== undefined && right !== answer) throw new Error(`${set}: packet ${i} is ${answer}, not ${right}`);
    return [src, dst, sport, dport, proto, answer].join(" ");
  });
  writeFileSync(file("expected"), `${expected.join("\n")}\n`);

  const own: { mpps: { median: number }; build_ms: number; tree_bytes: number }[] = [];
  const best: Variant[] = [];
  const same: number[] = [];
  for (let round = 0; round < Number(options.rounds); round++) {
    own.push(ours([]));
    const variants = [0, ...(count < SMALL_RULES ? [LARGE_TABLES] : [])].flatMap((tables) => theirs(peer, tables));
    variants.sort((a, b) => b.mlookups_per_s - a.mlookups_per_s);
    best.push(variants[0]!);
    same.push(variants.find(({ algorithm }) => algorithm === SAME_WIDTH)?.mlookups_per_s ?? NaN);
  }
  const mpps = median(own.map((run) => run.mpps.median));
  const rte = median(best.map((variant) => variant.mlookups_per_s));
  return {
    set,
    rules: count,
    mpps,
    rte_best: rte,
    rte_sse: median(same),
    ratio: Math.round((1000 * mpps) / rte) / 1000,
    build_ms: median(own.map((run) => run.build_ms)),
    rte_build_ms: 1000 * best[0]!.build_s,
    bytes_a_rule: Math.round(own[0]!.tree_bytes / count),
    rte_bytes_a_rule: Math.round((1e6 * best[0]!.table_mb) / count),
  };
}

function ours(more: readonly string[]): { mpps: { median: number }; build_ms: number; tree_bytes: number } {
  const args = ["bench", join(folder, "rules"), "--trace", join(folder, "trace"), "--json", "--quiet", ...more];
  return JSON.parse(pinned(process.execPath, [OURS, ...args])) as ReturnType<typeof ours>;
}

function theirs(peer: string, tables: number): Variant[] {
  const args = [join(folder, "rules"), join(folder, "expected"), "--runs", "3", "--seconds", "0.3"];
  const lines = pinned(peer, [...args, "--sample", "500", "--max-mb", String(tables)]);
  return lines
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Variant)
    .filter(({ available }) => available);
}

/** What the program prints, on one core; throws where it fails, as it does for a wrong answer. */
function pinned(program: string, args: readonly string[]): string {
  return execFileSync("taskset", ["-c", options.cpu, program, ...args], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
    stdio: ["ignore", "pipe", "inherit"],
  });
}

function lastOf(set: string): Result | null {
  if (!existsSync(RECORD)) return null;
  const lines = readFileSync(RECORD, "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line) as Result).findLast((result) => result.set === set) ?? null;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}

function row(name: string, cells: readonly string[]): string {
  return name.padEnd(12) + cells.map((cell) => cell.padStart(11)).join("");
}
