// iptables' own syntax tests (extensions/*.t): what is accepted, how it is printed, what is refused.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { RuleError } from "../src/rules/error.ts";
import { BUILTIN_CHAINS, TABLES, type Family, type Hook, type TableName } from "../src/rules/ruleset.ts";
import { printed } from "./support/rule-text.ts";

const DATA = new URL("../../shared/data/rulesets/t-files/", import.meta.url);
const noData = existsSync(DATA) ? false : "../shared/data is not there";

/** The files are of iptables 1.8.11; these lines are otherwise in 1.8.9. */
const OTHERWISE: ReadonlyMap<string, string> = new Map([
  ["-p icmp -m icmp --icmp-type 255/255", "-p icmp -m icmp --icmp-type any"],
  ["! -s 0.0.0.0 -j ACCEPT", "! -s 0.0.0.0/32 -j ACCEPT"],
]);

/** Refused because what they name is not there; whether it is, no rule file tells. */
const UNKNOWABLE: readonly string[] = [
  "-j SET --add-set foo src,dst",
  "-m set --match-set foo src,dst",
  "-m nfacct --nfacct-name wrong",
];

test("lines of the .t files are accepted and printed, or refused, as they say", { skip: noData }, (t) => {
  let accepted = 0;
  let refused = 0;
  const wrong: string[] = [];
  for (const file of readdirSync(DATA)
    .filter((name) => name.endsWith(".t"))
    .sort()) {
    const families: readonly Family[] = file.startsWith("libip6t_") ? [6] : file.startsWith("libipt_") ? [4] : [4, 6];
    let chains: string[] = [];
    let table: TableName = "filter";
    for (const line of readFileSync(new URL(file, DATA), "utf8").split("\n")) {
      if (line.startsWith(":")) chains = line.slice(1).split(",");
      if (line.startsWith("*")) table = line.slice(1) as TableName;
      if (!/^[-!]/.test(line)) continue;
      if (UNKNOWABLE.includes(line.split(";")[0]!)) continue;
      const [rule = "", expected = "", verdict = ""] = line.split(";");
      const fails = verdict === "FAIL";
      if (fails) refused++;
      else accepted++;
      for (const family of families) {
        if (family === 6 && onlyOfIpv4(line)) continue;
        for (const chain of chains) {
          const place = tableOf(chain, table);
          const got = printedOrReason(`-A ${chain} ${rule}`, place, family);
          const wanted = `-A ${chain} ${OTHERWISE.get(rule) ?? (expected === "=" ? rule : expected)}`;
          const right = fails ? !got.startsWith("-A ") : got === wanted.trimEnd();
          if (!right)
            wrong.push(`${file} IPv${family} -t ${place}: ${rule}\n  ${fails ? "is not refused" : wanted}\n  ${got}`);
        }
      }
    }
  }
  t.diagnostic(`${accepted} valid lines, ${refused} invalid ones`);
  assert.equal(wrong.join("\n"), "");
  assert.ok(accepted > 400 && refused > 150);
});

/** Files of both families have lines with addresses of one. */
function onlyOfIpv4(line: string): boolean {
  return /\d+\.\d+\.\d+\.\d+|-p icmp |-m ttl /.test(line);
}

/** A chain that the table lacks is tried in another one. */
function tableOf(chain: string, table: TableName): TableName {
  return [table, ...TABLES].find((name) => BUILTIN_CHAINS[name].includes(chain as Hook))!;
}

function printedOrReason(line: string, table: TableName, family: Family): string {
  try {
    return printed(line, table, family);
  } catch (error) {
    if (error instanceof RuleError) return error.reason;
    throw error;
  }
}
