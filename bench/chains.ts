// Seeded iptables rule sets of the kinds that machines write, as text, and the built-in chain that does the work.
//
//   docker   published ports of containers on a few bridges, isolated from each other
//   kube     services with endpoints chosen by lot, as kube-proxy writes them
//   cluster  the whole dump of a node of a cluster, all tables and comments in it, as many lines as are asked for
//   deep     64 levels of chains, each level asked by part of the packets; gotos, RETURN and marks between

import { formatAddress } from "../src/net/address.ts";
import type { Hook, TableName } from "../src/rules/ruleset.ts";
import { random } from "./random.ts";
import type { Random } from "./random.ts";

export const KINDS = ["docker", "kube", "cluster", "deep"] as const;
export type Kind = (typeof KINDS)[number];

export interface ChainSet {
  readonly text: string;
  readonly table: TableName;
  readonly hook: Hook;
}

/** About `count` rules; of a cluster `count` lines. */
export function drawChainSet(kind: Kind, count: number, seed: number): ChainSet {
  const draw = random(seed);
  switch (kind) {
    case "docker":
      return { text: docker(count, draw), table: "filter", hook: "FORWARD" };
    case "kube":
      return { text: kube(count, draw), table: "nat", hook: "PREROUTING" };
    case "cluster":
      return { text: cluster(count, draw), table: "nat", hook: "PREROUTING" };
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
    // seven rules a service, about
    const endpoints = draw.weighted([
      [7, 1],
      [2, 2],
      [1, draw.between(3, 8)],
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

const PORTS = [80, 443, 53, 8080, 9090, 3000, 5432, 6379, 9100];
const NAMES = ["", ":http", ":https", ":grpc", ":metrics"];

/** All that kube-proxy (iptables mode, 1.29) keeps on a node, in the order of iptables-save. */
function cluster(lineCount: number, draw: Random): string {
  const external: string[] = [];
  const services: string[] = [];
  const endpoints: string[] = [];
  const firewalls: string[] = [];
  const nodePorts: string[] = [];
  const portals: string[] = [];
  const rejects: string[] = [];
  const refused: string[] = [];
  const users: string[] = [];
  const bodies = [external, firewalls, endpoints, services];
  const fixed = clusterText(users, [], [], [], [], []).split("\n").length - 1;
  const countOf = (lists: readonly (readonly string[])[]): number => lists.reduce((sum, { length }) => sum + length, 0);
  const room = (): number => lineCount - fixed - countOf([users, nodePorts, portals, rejects, refused, ...bodies]);
  for (let number = 0; room() > 0; number++) {
    const name = `ns${number % 500}/svc-${number}${draw.pick(NAMES)}`;
    const ip = formatAddress(CLUSTER_NETWORK + number);
    const proto = draw.weighted([
      [90, "tcp"],
      [9, "udp"],
    ]);
    const port = draw.pick(PORTS);
    const asks = (address: string, comment: string): string =>
      `-d ${address}/32 -p ${proto} -m comment --comment "${comment}" -m ${proto} --dport ${port}`;
    const backends = draw.weighted([
      [5, 1],
      [3, 2],
      [2, draw.between(3, 8)],
    ]);
    // the largest service has so many lines; smaller ones fill the rest
    if (room() < 40 || draw.below(20) === 0) {
      rejects.push(
        `-A KUBE-SERVICES ${asks(ip, `${name} has no endpoints`)} -j REJECT --reject-with icmp-port-unreachable`,
      );
      continue;
    }
    const id = base32(draw);
    users.push(`KUBE-SVC-${id}`);
    portals.push(`-A KUBE-SERVICES ${asks(ip, `${name} cluster IP`)} -j KUBE-SVC-${id}`);
    if (draw.below(6) === 0) {
      users.push(`KUBE-EXT-${id}`);
      external.push(
        `-A KUBE-EXT-${id} -m comment --comment "masquerade traffic for ${name} external destinations" -j KUBE-MARK-MASQ`,
        `-A KUBE-EXT-${id} -j KUBE-SVC-${id}`,
      );
      if (draw.below(3) > 0) {
        nodePorts.push(
          `-A KUBE-NODEPORTS -p ${proto} -m comment --comment "${name}" -m ${proto} --dport ${30_000 + (number % 2768)} -j KUBE-EXT-${id}`,
        );
      } else {
        const balancer = formatAddress(BALANCERS + number);
        users.push(`KUBE-FW-${id}`);
        portals.push(`-A KUBE-SERVICES ${asks(balancer, `${name} loadbalancer IP`)} -j KUBE-FW-${id}`);
        firewalls.push(
          `-A KUBE-FW-${id} -s 198.51.${draw.below(256)}.0/24 -m comment --comment "${name} loadbalancer IP" -j KUBE-EXT-${id}`,
          `-A KUBE-FW-${id} -m comment --comment "other traffic to ${name} will be dropped by KUBE-PROXY-FIREWALL" -j RETURN`,
        );
        refused.push(
          `-A KUBE-PROXY-FIREWALL ${asks(balancer, `${name} traffic not accepted by KUBE-FW-${id}`)} -j DROP`,
        );
      }
    }
    services.push(`-A KUBE-SVC-${id} ! -s 10.244.0.0/15 ${asks(ip, `${name} cluster IP`)} -j KUBE-MARK-MASQ`);
    const affine = draw.below(100) === 0;
    const chosen = Array.from({ length: backends }, () => ({
      chain: `KUBE-SEP-${base32(draw)}`,
      pod: formatAddress(POD_NETWORK + draw.below(1 << 17)),
    }));
    if (affine) {
      for (const { chain, pod } of chosen) {
        const recent = `-m recent --rcheck --seconds 10800 --reap --name ${chain} --mask 255.255.255.255 --rsource`;
        services.push(`-A KUBE-SVC-${id} -m comment --comment "${name} -> ${pod}:${port}" ${recent} -j ${chain}`);
      }
    }
    chosen.forEach(({ chain, pod }, place) => {
      const left = backends - place;
      const lot = left === 1 ? "" : ` -m statistic --mode random --probability ${(1 / left).toFixed(11)}`;
      const recent = affine ? ` -m recent --set --name ${chain} --mask 255.255.255.255 --rsource` : "";
      users.push(chain);
      services.push(`-A KUBE-SVC-${id} -m comment --comment "${name} -> ${pod}:${port}"${lot} -j ${chain}`);
      endpoints.push(
        `-A ${chain} -s ${pod}/32 -m comment --comment "${name}" -j KUBE-MARK-MASQ`,
        `-A ${chain} -p ${proto} -m comment --comment "${name}"${recent} -m ${proto} -j DNAT --to-destination ${pod}:${port}`,
      );
    });
  }
  return clusterText(users, bodies.flat(), nodePorts, portals, rejects, refused);
}

const CLUSTER_NETWORK = 0xac1e0001;
const BALANCERS = 0xcb000001;
const POD_NETWORK = 0x0af40002;

function clusterText(
  users: readonly string[],
  bodies: readonly string[],
  nodePorts: readonly string[],
  portals: readonly string[],
  rejects: readonly string[],
  refused: readonly string[],
): string {
  const accept = (chains: string): Record<string, string> =>
    Object.fromEntries(chains.split(" ").map((chain) => [chain, "ACCEPT"]));
  const said = (text: string): string => `-m comment --comment "kubernetes ${text}"`;
  const fresh = "-m conntrack --ctstate NEW";
  const canaries = ["KUBE-KUBELET-CANARY", "KUBE-PROXY-CANARY"];
  return [
    table(
      "nat",
      accept("PREROUTING INPUT OUTPUT POSTROUTING"),
      [...canaries, "KUBE-MARK-MASQ", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-SERVICES", ...users],
      [
        `-A PREROUTING ${said("service portals")} -j KUBE-SERVICES`,
        `-A OUTPUT ${said("service portals")} -j KUBE-SERVICES`,
        `-A POSTROUTING ${said("postrouting rules")} -j KUBE-POSTROUTING`,
        "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        ...nodePorts,
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
        `-A KUBE-POSTROUTING ${said("service traffic requiring SNAT")} -j MASQUERADE --random-fully`,
        ...bodies,
        ...portals,
        `-A KUBE-SERVICES ${said("service nodeports; NOTE: this must be the last rule in this chain")} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS`,
      ],
    ),
    table(
      "filter",
      accept("INPUT FORWARD OUTPUT"),
      [
        ...canaries,
        ...["EXTERNAL-SERVICES", "FIREWALL", "FORWARD", "NODEPORTS", "PROXY-FIREWALL", "SERVICES"].map(
          (name) => `KUBE-${name}`,
        ),
      ],
      [
        `-A INPUT ${fresh} ${said("load balancer firewall")} -j KUBE-PROXY-FIREWALL`,
        `-A INPUT ${said("health check service ports")} -j KUBE-NODEPORTS`,
        `-A INPUT ${fresh} ${said("externally-visible service portals")} -j KUBE-EXTERNAL-SERVICES`,
        "-A INPUT -j KUBE-FIREWALL",
        `-A FORWARD ${fresh} ${said("load balancer firewall")} -j KUBE-PROXY-FIREWALL`,
        `-A FORWARD ${said("forwarding rules")} -j KUBE-FORWARD`,
        `-A FORWARD ${fresh} ${said("service portals")} -j KUBE-SERVICES`,
        `-A FORWARD ${fresh} ${said("externally-visible service portals")} -j KUBE-EXTERNAL-SERVICES`,
        `-A OUTPUT ${fresh} ${said("load balancer firewall")} -j KUBE-PROXY-FIREWALL`,
        `-A OUTPUT ${fresh} ${said("service portals")} -j KUBE-SERVICES`,
        "-A OUTPUT -j KUBE-FIREWALL",
        '-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP',
        "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
        `-A KUBE-FORWARD ${said("forwarding rules")} -m mark --mark 0x4000/0x4000 -j ACCEPT`,
        `-A KUBE-FORWARD ${said("forwarding conntrack rule")} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
        ...refused,
        ...rejects,
      ],
    ),
    table("mangle", accept("PREROUTING INPUT FORWARD OUTPUT POSTROUTING"), canaries, []),
  ].join("");
}

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** 16 characters, as kube-proxy names the chains of a service. */
function base32(draw: Random): string {
  return Array.from({ length: 16 }, () => BASE32[draw.below(32)]!).join("");
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
