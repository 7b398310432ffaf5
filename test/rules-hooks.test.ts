// What depends on the way to a rule: mark_source_chains() in ip_tables.c and the masks of the targets.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parse, refusedIn } from "./support/rule-text.ts";

function loads(lines: string, table: string): void {
  assert.equal(parse(`*${table}\n${lines}\nCOMMIT\n`).tables.length, 1);
}

test("NAT targets are refused in hooks where they cannot stand", () => {
  const cases = {
    "-A POSTROUTING -j DNAT --to 1.2.3.4": "DNAT",
    "-A INPUT -j DNAT --to 1.2.3.4": "DNAT",
    "-A POSTROUTING -j REDIRECT": "REDIRECT",
    "-A PREROUTING -j SNAT --to 1.2.3.4": "SNAT",
    "-A OUTPUT -j SNAT --to 1.2.3.4": "SNAT",
    "-A INPUT -j MASQUERADE": "MASQUERADE",
    "-A OUTPUT -j MASQUERADE": "MASQUERADE",
  };
  for (const [line, target] of Object.entries(cases)) {
    const hook = line.split(" ")[1]!;
    assert.match(refusedIn(line, "nat"), new RegExp(`^2:\\d+ ${target}: .* it is reached from ${hook}$`));
  }
  loads("-A PREROUTING -j DNAT --to 1.2.3.4\n-A OUTPUT -j REDIRECT", "nat");
  loads("-A INPUT -j SNAT --to 1.2.3.4\n-A POSTROUTING -j SNAT --to 1.2.3.4\n-A POSTROUTING -j MASQUERADE", "nat");
});

test("a user chain has the hooks of all who call it, through any number of chains", () => {
  const chains = "-N a\n-N b\n-A b -j DNAT --to 1.2.3.4\n-A a -j b\n";
  loads(`${chains}-A PREROUTING -j a`, "nat");
  assert.match(refusedIn(`${chains}-A PREROUTING -j a\n-A INPUT -j a`, "nat"), /^4:9 DNAT: .* reached from INPUT/);
  assert.match(refusedIn(`${chains}-A POSTROUTING -g a`, "nat"), /reached from POSTROUTING/);
});

test("what no packet reaches is not asked", () => {
  loads("-N a\n-A a -j MASQUERADE", "nat");
  loads("-A INPUT -j ACCEPT\n-A INPUT -j MASQUERADE", "nat");
  loads("-N a\n-A a -j MASQUERADE\n-A INPUT -j RETURN\n-A INPUT -j a", "nat");
});

test("a verdict with any condition does not end the chain, not even `-i +`", () => {
  for (const condition of ["-s 1.1.1.1", "-m comment --comment x", "-i +", "-f", "-p tcp"]) {
    const lines = `-A INPUT ${condition} -j ACCEPT\n-A INPUT -j MASQUERADE`;
    assert.match(refusedIn(lines, "nat"), /^3:.* reached from INPUT/, condition);
  }
  loads("-A INPUT -s 0.0.0.0/0 -p all -j ACCEPT\n-A INPUT -j MASQUERADE", "nat");
});

test("a limit on an interface is refused where there is none of that direction", () => {
  const inward = "-m addrtype --dst-type LOCAL --limit-iface-in";
  const outward = "-m addrtype --dst-type LOCAL --limit-iface-out";
  loads(`-A INPUT ${inward}\n-A FORWARD ${inward}\n-A FORWARD ${outward}\n-A OUTPUT ${outward}`, "filter");
  assert.match(refusedIn(`-A OUTPUT ${inward}`), /^2:\d+ addrtype: .*OUTPUT/);
  assert.match(refusedIn(`-A INPUT ${outward}`), /^2:\d+ addrtype: .*INPUT/);
  assert.match(refusedIn(`-N a\n-A a ${outward}\n-A INPUT -j a`), /^3:/);
});

test("a loop that a packet can enter is refused and named", () => {
  const loop = "-N a\n-N b\n-A a -j b\n-A b -s 1.1.1.1 -j a\n";
  assert.equal(refusedIn(`${loop}-A FORWARD -j a`), "5:20 a: the chains call each other without end: a -> b -> a");
  assert.match(refusedIn("-N a\n-A a -g a\n-A INPUT -j a"), /^3:9 a: .*: a -> a$/);
});

test("a loop that no packet can enter is accepted, as the kernel does", () => {
  const loop = "-N a\n-N b\n-A a -j b\n-A b -j a\n";
  loads(loop, "filter");
  loads(`${loop}-A INPUT -j ACCEPT\n-A INPUT -j a`, "filter");
  loads("-N a\n-N b\n-A a -j b\n-A b -j RETURN\n-A b -j a\n-A INPUT -j a", "filter");
});

test("a chain called twice is no loop", () => {
  loads("-N a\n-N b\n-N c\n-A a -j b\n-A a -j c\n-A b -j c\n-A INPUT -j a\n-A INPUT -j a\n-A OUTPUT -j c", "filter");
});

test("chains may be nested ten thousand deep", () => {
  const names = Array.from({ length: 10_000 }, (_, index) => `c${index}`);
  const calls = names.slice(1).map((name, index) => `-A c${index} -j ${name}`);
  loads([...names.map((name) => `:${name} - [0:0]`), ...calls, "-A INPUT -j c0"].join("\n"), "filter");
});
