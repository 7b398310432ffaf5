// Hosts as HOST.json tells them: routes and policy rules are those that the kernel has, and what it refuses is refused.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { HostError } from "../src/host/error.ts";
import type { Host, PolicyRule, Route } from "../src/host/host.ts";
import { parseHost } from "../src/host/parse.ts";
import { formatAddress } from "../src/net/address.ts";
import { Draw } from "./support/draw.ts";
import { drawHost } from "./support/kernel-arbitrary.ts";
import { noKernel } from "./support/oracle.ts";
import type { Json } from "./support/oracle.ts";

const PROGRAM = fileURLToPath(new URL("oracle/dump_host.py", import.meta.url));
const RANDOM_HOSTS = 60;

const ETH0 = { name: "eth0", addresses: ["192.0.2.2/24"] };
const ETH1 = { name: "eth1", addresses: ["10.0.0.1/24", "10.0.0.2/24", "10.0.1.1/25"] };

/** Each tries what iproute2 and the kernel understand in a way of their own. */
const HOSTS: readonly Json[] = [
  {},
  { interfaces: [] },
  { interfaces: [{ name: "eth0", addresses: ["0.1.0.1/24", "10.8.0.1/31", "10.7.0.1/32", "10.9.0.1/30"] }] },
  { interfaces: [{ name: "eth0", addresses: ["10.0.0.1 peer 10.0.0.2/30", "10.1.0.1 peer 10.1.0.2"] }] },
  {
    interfaces: [
      { name: "eth0", addresses: ["10.0.0.1/24 broadcast 10.0.0.77", "10.0.1.1/24 brd +", "10.0.2.1/32 brd +"] },
    ],
  },
  { interfaces: [{ name: "eth0", addresses: ["10.0.0.1/24 scope link", "10.0.1.1/24 scope host", "10.0.2.1/24"] }] },
  { interfaces: [{ name: "eth0", addresses: ["10.0.0.1/24", "10.0.0.2/24 scope link"] }] },
  { interfaces: [{ name: "eth0", addresses: ["10.0.0.1/24", "10.0.0.1/24"] }] },
  { interfaces: [{ name: "eth0", addresses: ["10.0.0.1/24", "10.0.0.1/16"] }] },
  { interfaces: [{ name: "eth0", addresses: ["10.0.0.1/255.255.0.0"] }] },
  { interfaces: [{ name: "eth0", addresses: [{ address: "10.0.0.1/24", label: "eth0:x" }] }] },
  { interfaces: [ETH0, { name: "eth1", addresses: ["192.0.2.3/24"] }] },
  { interfaces: [{ name: "lo", addresses: ["10.5.0.1/16", "10.6.0.1/32"] }] },
  { interfaces: [{ name: "eth0", addresses: ["10.0.0.1/24"], up: false }] },
  { interfaces: [ETH0, ETH1], routes: ["default via 192.0.2.1"] },
  { interfaces: [ETH0, ETH1], routes: ["default via 192.0.2.2"] },
  { interfaces: [ETH0, ETH1], routes: ["10.33/16 via 10.0.0.77", "10.34.0.0/255.255.0.0 via 10.0.0.77 proto static"] },
  { interfaces: [ETH0, ETH1], routes: ["10.33.0.0/16 dev eth1 scope host"] },
  { interfaces: [ETH0, ETH1], routes: ["10.33.0.0/16 dev eth1 scope global"] },
  { interfaces: [ETH0, ETH1], routes: ["10.33.0.0/16 via 10.0.0.77 scope link"] },
  { interfaces: [ETH0, ETH1], routes: ["8.8.8.8 via 1.2.3.4 dev eth0 onlink", "9.9.9.9 via 1.2.3.4 dev eth0"] },
  { interfaces: [ETH0, ETH1], routes: ["8.8.8.8 via 1.2.3.4 dev eth0 onlink"] },
  { interfaces: [ETH0, ETH1], routes: ["8.8.8.8 via 192.0.2.2 dev eth0 onlink"] },
  { interfaces: [ETH0, ETH1], routes: ["8.8.8.8 via 10.0.0.1 dev eth0 onlink"] },
  { interfaces: [ETH0, ETH1], routes: ["1.2.3.0/24 via 192.0.2.1", "8.8.8.8 via 1.2.3.4"] },
  { interfaces: [ETH0, ETH1], routes: ["10.0.0.0/24 dev eth1"] },
  { interfaces: [ETH0, ETH1], routes: ["10.0.0.0/24 dev eth0 metric 5", "10.0.0.0/24 via 192.0.2.9 metric 1"] },
  {
    interfaces: [ETH0, ETH1],
    routes: ["local 198.18.0.0/15 dev lo", "local 1.2.3.4 dev eth0 table 100", "8.0.0.0/8 dev eth0 src 198.18.1.1"],
  },
  { interfaces: [ETH0, ETH1], routes: ["broadcast 198.18.0.0 dev eth0", "local 1.2.3.4"] },
  { interfaces: [ETH0, ETH1], routes: ["8.0.0.0/8 dev eth0 src 9.9.9.9"] },
  {
    interfaces: [ETH0, ETH1],
    routes: ["unreachable default", "blackhole 1.0.0.0/8", "prohibit 2.0.0.0/8 metric 3", "throw 3.0.0.0/8 table 7"],
  },
  { interfaces: [ETH0, ETH1], routes: ["unreachable 1.2.3.4 dev eth0"] },
  { interfaces: [ETH0, ETH1], routes: ["1.2.3.4"] },
  { interfaces: [ETH0, ETH1], routes: ["via 192.0.2.1"] },
  { interfaces: [ETH0, ETH1], routes: ["1.2.3.4/24 via 192.0.2.1"] },
  {
    interfaces: [ETH0, ETH1],
    routes: [
      { dst: "10.9.0.0/16", via: "192.0.2.1", metric: 4, table: 300 },
      { type: "blackhole", dst: "4.4.4.4" },
    ],
  },
  { interfaces: [ETH0, ETH1], routes: ["8.8.8.8 via 192.0.2.1 table 100", "9.9.9.9 via 8.8.8.8 table 100"] },
  { interfaces: [ETH0, ETH1], routes: ["unreachable 192.0.2.1", "8.8.8.8 via 192.0.2.1"] },
  {
    interfaces: [ETH0],
    rules: [
      "fwmark 1 table 100",
      "fwmark 0x2/0xff lookup 200 priority 100",
      "from 10.0.0.0/8 to 9.9.9.9 blackhole",
      "not iif lo prohibit",
      "oif eth0 type unreachable pref 7",
      "fwmark 0 lookup 9",
    ],
  },
  { interfaces: [ETH0], rules: ["fwmark 1 table 100 priority 9", "fwmark 1 table 100 priority 9"] },
  {
    interfaces: [ETH0],
    rules: ["from 10.0.0.0/24", "from all to any iif nowhere", { from: "10.0.0.0/8", table: 5, priority: 1 }],
  },
  {
    interfaces: [ETH0],
    rules: ["priority 40000 to 1.2.3.4 lookup main", "priority 0 from 1.2.3.4 table 4", "from 2.2.2.2 table 2"],
  },
];

test("routes and policy rules are the kernel's, and hosts that it refuses are refused", { skip: noKernel() }, () => {
  const random = Array.from({ length: RANDOM_HOSTS }, (_, seed) => drawHost(new Draw(seed), seed % 2 === 0));
  const hosts = [...HOSTS, ...random];
  const ran = spawnSync("python3", [PROGRAM], {
    input: hosts.map((host) => JSON.stringify(host) + "\n").join(""),
    encoding: "utf8",
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" },
    maxBuffer: 2 ** 28,
  });
  const answers = ran.stdout.trim().split("\n");
  assert.equal(answers.length, hosts.length, ran.stderr);
  hosts.forEach((host, index) => {
    assert.deepEqual(ours(host), kernels(JSON.parse(answers[index]!) as Dump), JSON.stringify(host));
  });
});

interface Dump {
  readonly error?: string;
  readonly routes: readonly Json[];
  readonly rules: readonly Json[];
}

interface Tables {
  readonly routes: readonly string[];
  readonly rules: readonly string[];
}

/** "refused", or lines: routes sorted but for those of one prefix and metric, which stay in order. */
function ours(host: Json): "refused" | Tables {
  try {
    const model = parseHost(JSON.stringify(host), "host.json");
    return {
      routes: sorted(model.routes.map((route) => routeLine(model, route))),
      rules: model.rules.map(ruleLine),
    };
  } catch (error) {
    if (error instanceof HostError) return "refused";
    throw error;
  }
}

const SCOPES = { global: 0, link: 253, host: 254 } as const;
const TYPES = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
} as const;

function routeLine({ interfaces }: Host, route: Route): [key: string, line: string] {
  const key = `${route.table} ${formatAddress(route.dst)}/${route.prefixLength} ${route.metric}`;
  const dev = route.iface === null ? "-" : interfaces[route.iface]!.name;
  const rest = [
    ...[TYPES[route.type], dev, route.via === null ? "-" : formatAddress(route.via)],
    ...[route.src === null ? "-" : formatAddress(route.src), SCOPES[route.scope], route.mtu ?? "-"],
  ];
  return [key, `${key} ${rest.join(" ")}`];
}

function ruleLine(rule: PolicyRule): string {
  const prefix = (one: PolicyRule["from"]): string =>
    one === null ? "all" : `${formatAddress(one.address)}/${one.prefixLength}`;
  const mark = rule.fwmark === null || rule.fwmark.mask === 0 ? "-" : `${rule.fwmark.value}/${rule.fwmark.mask}`;
  const { action } = rule;
  const act = action.kind === "table" ? String(action.table) : `!${TYPES[action.kind]}`;
  return [rule.priority, rule.negated, prefix(rule.from), prefix(rule.to), rule.iif, rule.oif, mark, act].join(" ");
}

function kernels(dump: Dump): "refused" | Tables {
  if (dump.error !== undefined) return "refused";
  return { routes: sorted(dump.routes.map(kernelRouteLine)), rules: dump.rules.map(kernelRuleLine) };
}

function kernelRouteLine(route: Json): [key: string, line: string] {
  const text = (key: string, otherwise: string | number): string =>
    String((route[key] as string | undefined) ?? otherwise);
  const dst = text("dst", "") === "default" ? "0.0.0.0/0" : text("dst", "");
  const key = `${text("table", 254)} ${dst.includes("/") ? dst : `${dst}/32`} ${text("metric", 0)}`;
  const metrics = (route["metrics"] ?? []) as readonly Json[];
  const mtu = metrics.map((one) => one["mtu"]).find((one) => one !== undefined) as number | undefined;
  const rest = [
    text("type", 1),
    text("dev", "-"),
    text("gateway", "-"),
    text("prefsrc", "-"),
    text("scope", 0),
    mtu ?? "-",
  ];
  return [key, `${key} ${rest.join(" ")}`];
}

function kernelRuleLine(rule: Json): string {
  const text = (key: string): string | undefined => rule[key] as string | undefined;
  const prefix = (side: "src" | "dst"): string => {
    const address = text(side) ?? "all";
    return address === "all" ? "all" : `${address}/${text(`${side}len`) ?? 32}`;
  };
  const mark =
    text("fwmark") === undefined ? "-" : `${Number(text("fwmark"))}/${Number(text("fwmask") ?? "0xffffffff")}`;
  const action = text("action");
  const act = action === undefined ? text("table") : `!${action}`;
  return [rule["priority"], "not" in rule, prefix("src"), prefix("dst"), text("iif"), text("oif"), mark, act].join(" ");
}

function sorted(lines: readonly (readonly [key: string, line: string])[]): readonly string[] {
  return lines.toSorted(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0)).map(([, line]) => line);
}
