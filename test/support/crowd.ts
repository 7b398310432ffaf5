// A seed -> rules that translate to few addresses and few ports, and many clients behind them: ranges run full, clients meet,
// closed connections make room, and answers come to every port of the ranges, taken or not.
//
// Nothing here hangs on which port was drawn, so the packets are known before anybody is asked.

import type { Question } from "./compare.ts";
import { Draw } from "./draw.ts";
import type { Json } from "./oracle.ts";

const INSIDE = "10.0.0";
const OUTSIDE = "192.0.2";
const SERVERS = ["198.51.100.7", "198.51.100.8", "203.0.113.20"];
const OWN_PUBLIC = `${OUTSIDE}.2`;
/** Not the host's: whoever asks them meets DNAT. */
const PUBLIC = ["192.0.2.80", "192.0.2.81", "192.0.2.82", "192.0.2.83"];
const PORTS = [53, 80, 8001];

const HOST = {
  interfaces: [
    { name: "eth0", addresses: [`${OWN_PUBLIC}/24`] },
    { name: "eth1", addresses: [`${INSIDE}.1/24`] },
  ],
  routes: ["default via 192.0.2.1"],
  conntrack: true,
};

interface Pool {
  readonly addresses: readonly string[];
  readonly lo: number;
  readonly hi: number;
}

/** `packets`: about so many. */
export function drawCrowd(seed: number, packetCount: number): Question {
  const draw = new Draw(seed);
  const pools: Pool[] = [];
  const rules = [
    "*nat",
    ...["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"].map((chain) => `:${chain} ACCEPT [0:0]`),
    ...inwards(draw),
    ...outwards(draw, pools),
    "COMMIT",
    "",
  ].join("\n");
  const clients = Array.from({ length: 4 + draw.below(24) }, (_, i) => `${INSIDE}.${20 + i}`);
  const ports = [1000, 3001, 8001, 40000, 40001, 500, 700].slice(0, 1 + draw.below(7));
  const packets: Json[] = [];
  while (packets.length < packetCount) {
    packets.push(
      ...draw.weighted<() => Json[]>([
        [10, () => [firstOf(draw, clients, ports)]],
        [4, () => [visitor(draw, ports)]],
        [3, () => answers(draw, pools)],
        [1, () => [errorAbout(draw, pools)]],
        [2, () => conversation(draw, clients, ports, pools)],
      ])(),
    );
  }
  return { rules, host: HOST, packets, args: ["--trace", "--conntrack"] };
}

// -- rules

function options(draw: Draw): string {
  return draw.weighted([
    [5, ""],
    [2, " --random"],
    [2, " --random-fully"],
  ]);
}

function persistent(draw: Draw): string {
  return draw.chance(0.3) ? " --persistent" : "";
}

function span(lo: number, size: number): string {
  return size === 1 ? `${lo}` : `${lo}-${lo + size - 1}`;
}

/** Rules of POSTROUTING, one for each protocol. */
function outwards(draw: Draw, pools: Pool[]): readonly string[] {
  return ["udp", "tcp", "icmp"].flatMap((proto) => {
    if (draw.chance(0.1)) return [];
    const lo = draw.pick([1, 500, 1000, 3000]);
    const size = draw.pick([1, 2, 3, 5, 8, 40]);
    const match = `-A POSTROUTING -o eth0 -p ${proto} -j`;
    if (draw.chance(0.3)) {
      pools.push({ addresses: [OWN_PUBLIC], lo, hi: lo + size - 1 });
      return [`${match} MASQUERADE --to-ports ${span(lo, size)}${options(draw)}`];
    }
    const count = draw.pick([1, 1, 2, 3]);
    const addresses = Array.from({ length: count }, (_, i) => `${OUTSIDE}.${9 + i}`);
    const ends = count === 1 ? addresses[0]! : `${addresses[0]!}-${addresses.at(-1)!}`;
    const hasPorts = draw.chance(0.8);
    pools.push({ addresses, lo: hasPorts ? lo : 1000, hi: hasPorts ? lo + size - 1 : 1000 });
    const to = hasPorts ? `${ends}:${span(lo, size)}` : ends;
    return [`${match} SNAT --to-source ${to}${options(draw)}${persistent(draw)}`];
  });
}

/** Rules of PREROUTING: several public addresses lead to few servers, so that the answers of one client may meet. */
function inwards(draw: Draw): readonly string[] {
  return ["udp", "tcp"].flatMap((proto) => {
    if (draw.chance(0.2)) return [];
    const size = draw.pick([1, 2, 3, 5]);
    const match = `-A PREROUTING -i eth0 -p ${proto}`;
    if (draw.chance(0.2)) {
      return [
        `${match} -d ${OWN_PUBLIC} -j REDIRECT --to-ports ${span(8000, size)}${draw.chance(0.3) ? " --random" : ""}`,
      ];
    }
    const count = draw.pick([1, 1, 2, 3]);
    const ends = count === 1 ? `${INSIDE}.60` : `${INSIDE}.60-${INSIDE}.${59 + count}`;
    const shift = size > 1 && draw.chance(0.2) ? `/${draw.pick([53, 80, 8000])}` : "";
    const way = `${draw.chance(0.3) ? " --random" : ""}${persistent(draw)}`;
    return [`${match} -d ${OUTSIDE}.80/30 -j DNAT --to-destination ${ends}:${span(8000, size)}${shift}${way}`];
  });
}

// -- packets

function firstOf(draw: Draw, clients: readonly string[], ports: readonly number[]): Json {
  const ends = { in: "eth1", src: draw.pick(clients), dst: draw.pick(SERVERS) };
  if (draw.chance(0.15)) return { ...ends, proto: "icmp", icmp_id: draw.pick(ports) };
  const proto = draw.pick(["udp", "tcp"]);
  return { ...ends, proto, sport: draw.pick(ports), dport: draw.pick(PORTS) };
}

/** Somebody outside asks for a public address. */
function visitor(draw: Draw, ports: readonly number[]): Json {
  const dst = draw.chance(0.8) ? draw.pick(PUBLIC) : OWN_PUBLIC;
  const proto = draw.pick(["udp", "tcp"]);
  return { in: "eth0", src: draw.pick(SERVERS), dst, proto, sport: draw.pick(ports), dport: draw.pick(PORTS) };
}

/** A server answers to ports of a pool, and to one behind it. */
function answers(draw: Draw, pools: readonly Pool[]): Json[] {
  if (pools.length === 0) return [];
  const { addresses, lo, hi } = draw.pick(pools);
  const ends = { in: "eth0", src: draw.pick(SERVERS), dst: draw.pick(addresses) };
  const [proto, sport] = [draw.pick(["udp", "tcp", "icmp"]), draw.pick(PORTS)];
  const from = lo + draw.below(hi - lo + 1);
  return Array.from({ length: Math.min(4, hi + 2 - from) }, (_, i) =>
    proto === "icmp"
      ? { ...ends, proto, icmp_type: 0, icmp_id: from + i }
      : { ...ends, proto, sport, dport: from + i, ...(proto === "tcp" ? { flags: draw.pick(["SA", "A", "R"]) } : {}) },
  );
}

/** A router before a server tells of a packet that came from a pool. */
function errorAbout(draw: Draw, pools: readonly Pool[]): Json {
  const pool = pools.length === 0 ? { addresses: [OWN_PUBLIC], lo: 1000, hi: 1000 } : draw.pick(pools);
  const src = draw.pick(pool.addresses);
  const [proto, sport] = [draw.pick(["udp", "tcp"]), pool.lo + draw.below(pool.hi - pool.lo + 1)];
  const inner = { src, dst: draw.pick(SERVERS), proto, sport, dport: draw.pick(PORTS) };
  return { in: "eth0", src: "198.51.100.1", dst: src, proto: "icmp", icmp_type: 3, icmp_code: 1, inner };
}

/** A client opens and closes, whatever port it got: all ports of the pool hear what the server says. Then the next one comes. */
function conversation(
  draw: Draw,
  clients: readonly string[],
  ports: readonly number[],
  pools: readonly Pool[],
): Json[] {
  const pool = pools.find(({ lo, hi }) => hi - lo < 5);
  if (pool === undefined) return [];
  const ends = { dst: draw.pick(SERVERS), proto: "tcp", dport: 80 };
  const client = { in: "eth1", src: draw.pick(clients), ...ends, sport: draw.pick(ports) };
  const serverSays = (flags: string): Json[] =>
    pool.addresses.flatMap((dst) =>
      Array.from({ length: pool.hi - pool.lo + 1 }, (_, i) => ({
        ...{ in: "eth0", src: ends.dst, dst, proto: "tcp", sport: 80, dport: pool.lo + i, flags },
      })),
    );
  const next = { ...client, src: draw.pick(clients), sport: draw.pick(ports) };
  return [
    client,
    ...serverSays("SA"),
    { ...client, flags: "A" },
    { ...client, flags: "FA" },
    ...serverSays("FA"),
    { ...client, flags: "A" },
    { ...next, flags: "S" },
    { ...next, flags: "S", seq: 9000 + draw.below(1000) },
  ];
}
