// Real rule sets and a thousand packets each that a kernel counted (../shared/data/rulesets/kernel-oracle, where it is): every
// counter of every rule and policy is the kernel's, packets and bytes, with each engine.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { temporaryFiles, verdictree } from "./support/command.ts";
import { readLines } from "./support/oracle.ts";

const RULESETS = fileURLToPath(new URL("../../shared/data/rulesets/", import.meta.url));
const RECORDINGS = join(RULESETS, "kernel-oracle");
const ENDING = ".packets.jsonl";
/** What the kernel was given that the host model of the recordings does not say (its README). */
const ROUTES = { rules: ["iif lo blackhole"], sysctl: { "net/ipv4/conf/all/accept_local": 1 } };

interface Heading {
  readonly rules: string;
  readonly interfaces: readonly { readonly name: string; readonly address: string; readonly mac: string }[];
  readonly routes: readonly (readonly [string, string])[];
}

const names = existsSync(RECORDINGS) ? readdirSync(RECORDINGS).filter((name) => name.endsWith(ENDING)) : [];

for (const name of names.map((file) => file.slice(0, -ENDING.length))) {
  for (const engine of ["wasm", "reference"]) {
    test(`${engine} counts as the kernel did: ${name}`, async (context) => {
      const [heading, ...packets] = readLines(readFileSync(join(RECORDINGS, `${name}${ENDING}`), "utf8"));
      const { rules, interfaces, routes } = heading as unknown as Heading;
      const host = {
        ...ROUTES,
        interfaces: interfaces.map((one) => ({ name: one.name, addresses: [one.address], mac: one.mac })),
        routes: routes.map(([network, iface]) => `${network} dev ${iface}`),
      };
      const lines = packets.map((packet) => ({ in: packet["iif"], src_mac: packet["smac"], hex: packet["hex"] }));
      const paths = temporaryFiles(context, {
        "host.json": JSON.stringify(host),
        "packets.jsonl": lines.map((line) => JSON.stringify(line)).join("\n"),
      });
      const ran = await verdictree(
        ...["run", pathOf(rules), "--host", paths["host.json"], "--packets", paths["packets.jsonl"]],
        ...["--engine", engine, "--counters", "--quiet"],
      );
      assert.equal(ran.code, 0, ran.stderr);
      const wanted = readFileSync(join(RECORDINGS, `${name}.counters`), "utf8");
      const given = tablesOf(ran.stdout);
      const kernel = tablesOf(wanted);
      for (const [table, counted] of given) assert.deepEqual(counted, kernel.get(table), table);
      assert.ok(given.size > 0);
    });
  }
}

test("the recordings of a kernel", { skip: names.length > 0 ? false : "../shared/data is not there" }, () => {
  assert.equal(names.length, 16);
});

function pathOf(rules: string): string {
  const found = ["real", "generated", "shaped"].map((folder) => join(RULESETS, folder, rules)).find(existsSync);
  assert.ok(found !== undefined, rules);
  return found;
}

/** Lines by table; the kernel has some that the file has not. */
function tablesOf(text: string): ReadonlyMap<string, readonly string[]> {
  const sections = text
    .replace(/^#.*\n/gm, "")
    .split(/^COMMIT$/m)
    .slice(0, -1);
  return new Map(sections.map((section) => section.trim().split("\n")).map(([table, ...lines]) => [table!, lines]));
}
