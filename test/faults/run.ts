// Deliberate faults -> which test catches each: shows that the tests can fail.
//
// A fault is a patch beside this file; its first line says what it breaks. Each is applied to a copy of the tree, the
// WASM built anew if the patch touches it, and the tests are run, the quick ones first, until one fails. A patch that
// does not apply (all are tried before any test runs), a copy that does not build, or a fault that no test catches is a
// failure of this program.
//
//     npm run test:faults [-- NAME...]      only the patches whose file names contain a NAME
//     npm run test:faults -- --check        only whether all patches apply: code that they touch may have changed

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** In this order: the first that fails is named. */
const TESTS = [
  "test/cases.test.ts",
  "test/first-match.test.ts",
  "test/kernel-engine.test.ts",
  "test/property-engine.test.ts",
  "test/property-sequences.test.ts",
  "test/smallworld.test.ts",
  "test/property-diff.test.ts",
  "test/rules-damage.test.ts",
];
/** Random worlds for each fault. */
const WORLDS = "150";
const COPIED = ["src", "assembly", "test", "package.json", "tsconfig.json", "tsconfig.build.json", "asconfig.json"];
/** A fault may make a test run for ever: that is caught too. */
const TIMEOUT_MS = 180_000;
/** How many failing tests are named. */
const SHOWN = 3;

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, "../..");

interface Result {
  readonly ok: boolean;
  readonly output: string;
}

const onlyCheck = process.argv.includes("--check");
const names = process.argv.slice(2).filter((argument) => argument !== "--check");
const patches = readdirSync(HERE)
  .filter((file) => file.endsWith(".patch"))
  .filter((file) => names.length === 0 || names.some((name) => file.includes(name)))
  .sort();

const stale = patches.filter((patch) => !applies(patch));
const sound = patches.filter((patch) => !stale.includes(patch));
let failures = stale.length;
if (!onlyCheck) {
  // without a fault all must pass, else a failure would say nothing
  failures += report("no fault", 0, (folder) => {
    const failed = firstFailure(folder);
    return failed === null ? { ok: true, output: "every test passes" } : { ok: false, output: failed };
  });
  for (const patch of sound) {
    failures += report(basename(patch, ".patch"), 1, (folder) => {
      apply(folder, patch);
      if (touched(patch).some((file) => file.startsWith("assembly/") || file === "src/layout.ts")) {
        const built = build(folder);
        if (!built.ok) return { ok: false, output: `the copy does not build: ${built.output}` };
      }
      const failed = firstFailure(folder);
      return failed === null ? { ok: false, output: "no test fails" } : { ok: true, output: failed };
    });
  }
}
console.log(`${patches.length} faults, ${failures} failed`);
process.exitCode = failures === 0 && patches.length > 0 ? 0 : 1;

/** Says so if it does not. */
function applies(patch: string): boolean {
  const folder = copyTree();
  try {
    const { ok, output } = apply(folder, patch);
    if (!ok)
      console.log(
        `FAIL ${basename(patch, ".patch")} does not apply any more to ${touched(patch).join(", ")}: ${output}`,
      );
    return ok;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function apply(folder: string, patch: string): Result {
  return run(folder, "git", ["apply", "-C0", "--whitespace=nowarn", join(HERE, patch)]);
}

function touched(patch: string): string[] {
  const text = readFileSync(join(HERE, patch), "utf8");
  return [...text.matchAll(/^\+\+\+ b\/(.*)$/gm)].map(([, file]) => file!);
}

/** 1 if it failed. */
function report(name: string, width: number, check: (folder: string) => Result): number {
  const start = performance.now();
  const folder = copyTree();
  try {
    const { ok, output } = check(folder);
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    const said = width === 0 ? output : ok ? `caught by ${output}` : `NOT CAUGHT: ${output}`;
    console.log(`${ok ? "ok  " : "FAIL"} ${name.padEnd(40)} ${seconds.padStart(4)} s  ${said}`);
    return ok ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function copyTree(): string {
  // outside of any repository: git apply then takes the folder as it is
  const folder = mkdtempSync(join(tmpdir(), "verdictree-fault-"));
  // without the program that asks the kernel: it judges the reference, which no fault touches
  const wanted = (path: string): boolean => !path.endsWith(".py");
  for (const name of COPIED) cpSync(join(ROOT, name), join(folder, name), { recursive: true, filter: wanted });
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  return folder;
}

function build(folder: string): Result {
  const compiled = run(folder, "node_modules/.bin/asc", ["assembly/index.ts", "--target", "release"]);
  return compiled.ok ? run(folder, process.execPath, ["assembly/embed.mjs"]) : compiled;
}

/** `FILE: NAMES` of the first file with tests that fail; null if none does. */
function firstFailure(folder: string): string | null {
  for (const file of TESTS) {
    const ran = run(folder, "node_modules/.bin/tsx", ["--test", "--test-reporter=tap", file]);
    if (ran.ok) continue;
    const failed = [...ran.output.matchAll(/^ *not ok \d+ - (.*)$/gm)].map(([, name]) => name!.trim());
    const more = failed.length > SHOWN ? ` and ${failed.length - SHOWN} more` : "";
    const shown = failed.length > 0 ? failed.slice(0, SHOWN).join("; ") + more : "it did not end well";
    return `${basename(file)}: ${shown}`;
  }
  return null;
}

function run(folder: string, command: string, args: readonly string[]): Result {
  const env = { ...process.env, VERDICTREE_WORLDS: WORLDS };
  // else the runner inside takes itself for a part of one outside
  Reflect.deleteProperty(env, "NODE_TEST_CONTEXT");
  Reflect.deleteProperty(env, "VERDICTREE_REQUIRE_KERNEL");
  const ran = spawnSync(command, args, {
    cwd: folder,
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    maxBuffer: 1 << 28,
    env,
  });
  const output = `${ran.stdout}${ran.stderr}${ran.error === undefined ? "" : ran.error.message}`;
  return { ok: ran.status === 0, output };
}
