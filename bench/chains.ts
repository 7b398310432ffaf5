// Seeded iptables rule sets of the kinds that machines write, as text, and the built-in chain that does the work.
//
//   docker   published ports of containers on a few bridges, isolated from each other
//   kube     services with endpoints chosen by lot, as kube-proxy writes them
//   deep     64 levels of chains, each level asked by part of the packets; gotos, RETURN and marks between

import { formatAddress } from "../src/net/address.ts";
import type { Hook, TableName } from "../src/rules/ruleset.ts";
import { random } from "./random.ts";
import type { Random } from "./random.ts";

export const KINDS = ["docker", "kube", "deep"] as const;
export type Kind = (typeof KINDS)[number];

export interface ChainSet {
  readonly text: string;
  readonly table: TableName;
  readonly hook: Hook;
}

/** About `count` rules. */
export function drawChainSet(kind: Kind, count: number, seed: number): ChainSet {
  const draw = random(seed);
  switch (kind) {
    case "docker":
      return { text: docker(count, draw), table: "filter", hook: "FORWARD" };
    case "kube":
      return { text: kube(count, draw), table: "nat", hook: "PREROUTING" };
    case "deep":
      return { text: deep(count, draw), table: "filter", hook: "FORWARD" };
  }
}

const BRIDGES = 8;

function docker(count: number, draw: Random): string {
  const bridges = Array.from({ length: BRIDGES }, (_, i) => ({
    name: i === 0 ? "docker0" : `br-${hex(draw)}`,
    net: 17 + i,
  }));
  const rules = bridges.flatMap(({ name }) => [
    `-A FORWARD -o ${name} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    `-A FORWARD -o ${name} -j DOCKER`,
    `-A FORWARD -i ${name} ! -o ${name} -j ACCEPT`,
    `-A FORWARD -i ${name} -o ${name} -j ACCEPT`,
  ]);
  rules.unshift("-A FORWARD -j DOCKER-USER", "-A FORWARD -j DOCKER-ISOLATION-STAGE-1");
  for (const { name } of bridges) {
    rules.push(`-A DOCKER-ISOLATION-STAGE-1 -i ${name} ! -o ${name} -j DOCKER-ISOLATION-STAGE-2`);
    rules.push(`-A DOCKER-ISOLATION-STAGE-2 -o ${name} -j DROP`);
  }
  rules.push(
    "-A DOCKER-ISOLATION-STAGE-1 -j RETURN",
    "-A DOCKER-ISOLATION-STAGE-2 -j RETURN",
    "-A DOCKER-USER -j RETURN",
  );
  while (rules.length < count) {
    const { name, net } = draw.pick(bridges);
    const [proto, port] = [
      draw.weighted([
        [9, "tcp"],
        [1, "udp"],
      ]),
      draw.weighted([
        [3, draw.pick([80, 443, 8080, 5432, 6379])],
        [1, draw.between(1024, 32_767)],
      ]),
    ];
    const to = `172.${net}.${draw.below(16)}.${draw.between(2, 254)}/32`;
    rules.push(`-A DOCKER -d ${to} ! -i ${name} -o ${name} -p ${proto} -m ${proto} --dport ${port} -j ACCEPT`);
  }
  const users = ["DOCKER", "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2", "DOCKER-USER"];
  return table("filter", { INPUT: "ACCEPT", FORWARD: "DROP", OUTPUT: "ACCEPT" }, users, rules);
}

function kube(count: number, draw: Random): string {
  const users = ["KUBE-SERVICES", "KUBE-MARK-MASQ", "KUBE-NODEPORTS"];
  const rules = ["-A PREROUTING -j KUBE-SERVICES"];
  const services: string[] = [];
  const nodePorts: string[] = [];
  const bodies: string[] = [];
  while (rules.length + services.length + nodePorts.length + bodies.length < count) {
    const service = `KUBE-SVC-${hex(draw)}`;
    const ip = `10.${96 + draw.below(16)}.${draw.below(256)}.${draw.below(256)}`;
    const proto = draw.weighted([
      [9, "tcp"],
      [1, "udp"],
    ]);
    const port = draw.pick([80, 443, 53, 8080, 9090, 3000, 5432, 6379, 9200]);
    const endpoints = draw.weighted([
      [5, 1],
      [3, 3],
      [2, draw.between(4, 12)],
    ]);
    users.push(service);
    services.push(`-A KUBE-SERVICES -d ${ip}/32 -p ${proto} -m ${proto} --dport ${port} -j ${service}`);
    if (draw.below(8) === 0)
      nodePorts.push(`-A KUBE-NODEPORTS -p ${proto} -m ${proto} --dport ${draw.between(30_000, 32_767)} -j ${service}`);
    bodies.push(
      `-A ${service} ! -s 10.244.0.0/16 -d ${ip}/32 -p ${proto} -m ${proto} --dport ${port} -j KUBE-MARK-MASQ`,
    );
    for (let left = endpoints; left > 0; left--) {
      const endpoint = `KUBE-SEP-${hex(draw)}`;
      const pod = `10.244.${draw.below(256)}.${draw.between(2, 254)}`;
      users.push(endpoint);
      const lot = left === 1 ? "" : `-m statistic --mode random --probability ${(1 / left).toFixed(11)} `;
      bodies.push(
        `-A ${service} ${lot}-j ${endpoint}`,
        `-A ${endpoint} -s ${pod}/32 -j KUBE-MARK-MASQ`,
        `-A ${endpoint} -p ${proto} -m ${proto} -j DNAT --to-destination ${pod}:${port}`,
      );
    }
  }
  rules.push(
    ...services,
    "-A KUBE-SERVICES -j KUBE-NODEPORTS",
    ...nodePorts,
    "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
    ...bodies,
  );
  return table("nat", { PREROUTING: "ACCEPT", INPUT: "ACCEPT", OUTPUT: "ACCEPT", POSTROUTING: "ACCEPT" }, users, rules);
}

const LEVELS = 64;

function deep(count: number, draw: Random): string {
  const users = Array.from({ length: LEVELS }, (_, i) => `LEVEL${i + 1}`);
  const chains = ["FORWARD", ...users];
  const each = Math.max(2, Math.floor(count / chains.length));
  const rules = chains.flatMap((chain, level) =>
    Array.from({ length: each }, (_, i) => {
      const net = `${formatAddress((10 << 24) | ((draw.word() & 0xffff) << 8))}/24`;
      const below = chains[level + 1];
      if (i === each >> 1 && below !== undefined) return `-A ${chain} ! -s ${net} -j ${below}`;
      const target = draw.weighted([
        [4, "-j ACCEPT"],
        [4, "-j DROP"],
        [2, "-j RETURN"],
        [1, "-j MARK --set-xmark 0x1/0x1"],
        [1, below === undefined ? "-j DROP" : `-g ${below}`],
      ]);
      return `-A ${chain} -s ${net} -p tcp -m tcp --dport ${draw.between(1, 1024)} ${target}`;
    }),
  );
  return table("filter", { INPUT: "ACCEPT", FORWARD: "DROP", OUTPUT: "ACCEPT" }, users, rules);
}

function table(
  name: TableName,
  policies: Readonly<Record<string, string>>,
  users: readonly string[],
  rules: readonly string[],
): string {
  const lines = [
    `*${name}`,
    ...Object.entries(policies).map(([chain, policy]) => `:${chain} ${policy} [0:0]`),
    ...users.map((chain) => `:${chain} - [0:0]`),
    ...rules,
    "COMMIT",
  ];
  return `${lines.join("\n")}\n`;
}

function hex(draw: Random): string {
  return draw.word().toString(16).padStart(8, "0");
}
