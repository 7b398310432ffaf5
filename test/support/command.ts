// Runs the command line as a user would: from its source, or with VERDICTREE_BUILT=1 what the last build has made of it.

import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const TYPESCRIPT = new URL("typescript.mjs", import.meta.url).href;
const MAIN =
  process.env["VERDICTREE_BUILT"] === "1" ? ["dist/cli/main.js"] : ["--import", TYPESCRIPT, "src/cli/main.ts"];

/** What stands before the arguments of verdictree. */
export const COMMAND: readonly string[] = [process.execPath, ...MAIN];

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function start(...args: readonly string[]): ChildProcessWithoutNullStreams {
  const [node, ...options] = COMMAND;
  return spawn(node!, [...options, ...args], { cwd: ROOT });
}

/** Paths among the arguments are relative to the root of the repository. */
export function verdictree(...args: readonly string[]): Promise<Ran> {
  return verdictreeReading("", ...args);
}

export function verdictreeReading(input: string, ...args: readonly string[]): Promise<Ran> {
  const child = start(...args);
  child.stdin.on("error", () => undefined); // it need not read
  child.stdin.end(input);
  return ended(child);
}

export function ended(child: ChildProcessWithoutNullStreams): Promise<Ran> {
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      resolve({ code, stdout, stderr });
    });
  });
}

/** Files in a folder that goes when the test ends; gives their paths. */
export function temporaryFiles<Name extends string>(
  context: TestContext,
  files: Readonly<Record<Name, string | Uint8Array>>,
): Record<Name, string> {
  const folder = mkdtempSync(join(tmpdir(), "verdictree-"));
  context.after(() => {
    rmSync(folder, { recursive: true });
  });
  const paths: Record<string, string> = {};
  for (const [name, content] of Object.entries<string | Uint8Array>(files)) {
    paths[name] = join(folder, name);
    writeFileSync(paths[name], content);
  }
  return paths;
}
