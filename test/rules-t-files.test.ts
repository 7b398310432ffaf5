// iptables' own syntax tests (extensions/*.t) for the modules that are modelled: what they accept and how it is printed.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { RuleError } from "../src/rules/error.ts";
import { BUILTIN_CHAINS, TABLES, type Hook, type TableName } from "../src/rules/ruleset.ts";
import { printed } from "./support/rule-text.ts";

const DATA = new URL("../../shared/data/rulesets/t-files/", import.meta.url);
const noData = existsSync(DATA) ? false : "../shared/data is not there";

const FILES =
  "iptables libipt_DNAT libipt_LOG libipt_MASQUERADE libipt_REJECT libipt_SNAT libipt_icmp libipt_iprange " +
  "libipt_standard libxt_MARK libxt_REDIRECT libxt_addrtype libxt_comment libxt_conntrack libxt_limit libxt_mark " +
  "libxt_multiport libxt_standard libxt_state libxt_statistic libxt_tcp libxt_udp";

/** The files are of iptables 1.8.11; these lines are otherwise in 1.8.9, or are refused here on purpose. */
const OTHERWISE: ReadonlyMap<string, string> = new Map([
  ["-p icmp -m icmp --icmp-type 255/255", "-p icmp -m icmp --icmp-type any"],
  ["! -s 0.0.0.0 -j ACCEPT", "! -s 0.0.0.0/32 -j ACCEPT"],
]);

test("lines of the .t files are accepted and printed, or refused, as they say", { skip: noData }, (t) => {
  let accepted = 0;
  let refused = 0;
  let beyond = 0;
  for (const name of FILES.split(" ")) {
    let chains: string[] = [];
    let table: TableName = "filter";
    for (const line of readFileSync(new URL(`${name}.t`, DATA), "utf8").split("\n")) {
      if (line.startsWith(":")) chains = line.slice(1).split(",");
      if (line.startsWith("*")) table = line.slice(1) as TableName;
      if (!/^[-!]/.test(line)) continue;
      const [rule = "", expected = "", verdict = ""] = line.split(";");
      for (const chain of chains) {
        const place = tableOf(chain, table);
        const got = printedOrReason(`-A ${chain} ${rule}`, place);
        const where = `${name}.t: -t ${place} -A ${chain} ${rule}`;
        if (got.includes("not modelled")) beyond++;
        else if (verdict === "FAIL") {
          assert.doesNotMatch(got, /^-A/, where);
          refused++;
        } else {
          const wanted = OTHERWISE.get(rule) ?? (expected === "=" ? rule : expected);
          assert.equal(got, `-A ${chain} ${wanted}`, where);
          accepted++;
        }
      }
    }
  }
  t.diagnostic(`${accepted} accepted, ${refused} refused, ${beyond} not modelled`);
  assert.ok(accepted > 200 && refused > 60, `${accepted} accepted, ${refused} refused`);
});

/** A chain that the table lacks is tried in another one. */
function tableOf(chain: string, table: TableName): TableName {
  return [table, ...TABLES].find((name) => BUILTIN_CHAINS[name].includes(chain as Hook))!;
}

function printedOrReason(line: string, table: TableName): string {
  try {
    return printed(line, table);
  } catch (error) {
    if (error instanceof RuleError) return error.reason;
    throw error;
  }
}
