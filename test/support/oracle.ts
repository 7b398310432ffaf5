// Rules, host and packets -> what the Linux kernel says, by kernel_oracle.py (test/oracle/README.md).
//
// It needs python3, iptables, nft, and root or user namespaces. Where it cannot run the tests that ask it are skipped
// and say so; VERDICTREE_REQUIRE_KERNEL=1 makes that a failure.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export type Json = Readonly<Record<string, unknown>>;

/** A verdict line. */
export type Verdict = Readonly<Record<string, unknown>>;

/** The oracle refuses what it was given, or could not follow the kernel. */
export class OracleError extends Error {
  override readonly name = "OracleError";
}

const PROGRAM = fileURLToPath(new URL("../oracle/kernel_oracle.py", import.meta.url));
const RULES = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";

/** The verdict of each packet. Throws with what the oracle says if it refuses. */
export function askOracle(
  rules: string,
  host: Json,
  packets: readonly Json[],
  args: readonly string[] = ["--stateless", "--trace"],
  sets?: string,
): readonly Verdict[] {
  const folder = mkdtempSync(join(tmpdir(), "oracle-"));
  try {
    const paths = ["rules.v4", "host.json", "packets.jsonl"].map((name) => join(folder, name));
    writeFileSync(paths[0]!, rules);
    writeFileSync(paths[1]!, JSON.stringify(host));
    writeFileSync(paths[2]!, packets.map((packet) => JSON.stringify(packet) + "\n").join(""));
    const setsPath = join(folder, "sets.ipset");
    if (sets !== undefined) writeFileSync(setsPath, sets);
    const all = [PROGRAM, ...paths, ...args, ...(sets === undefined ? [] : ["--ipset", setsPath])];
    const ran = spawnSync("python3", all, { encoding: "utf8", maxBuffer: 2 ** 28 });
    if (ran.error !== undefined) throw ran.error;
    if (ran.status !== 0) throw new OracleError(`the oracle says: ${ran.stderr}`);
    return readLines(ran.stdout);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export function readLines(text: string): readonly Json[] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => JSON.parse(line) as Json);
}

let missing: string | false | undefined;

/** Why the kernel cannot be asked here, as `skip` of a test wants it; false: it can. */
export function noKernel(): string | false {
  missing ??= whatIsMissing();
  if (missing !== false && process.env["VERDICTREE_REQUIRE_KERNEL"] === "1") throw new Error(missing);
  return missing;
}

function whatIsMissing(): string | false {
  try {
    askOracle(RULES, { interfaces: [{ name: "eth0", addresses: ["192.0.2.1/24"] }] }, [
      { in: "eth0", dst: "192.0.2.1" },
    ]);
    return false;
  } catch (error) {
    return `the kernel cannot be asked here: ${error instanceof Error ? error.message.trim() : String(error)}`;
  }
}
