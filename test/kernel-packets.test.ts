// Packet lines become the bytes that the oracle makes of them.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseHost } from "../src/host/parse.ts";
import { parseArrival } from "../src/packet/line.ts";
import { drawKernelWorld } from "./support/kernel-arbitrary.ts";
import type { Json } from "./support/oracle.ts";

const WORLDS = 30;
const PACKETS = 60;
const ORACLE = fileURLToPath(new URL("oracle", import.meta.url));
const PROGRAM = `
import json, sys
sys.path.insert(0, sys.argv[1])
import kernel_oracle
for line in sys.stdin:
    spec = json.loads(line)
    print(kernel_oracle.build_packet(spec, spec["ip_id"]).hex())
`;

const python = spawnSync("python3", ["--version"]).status === 0;

test("packet lines are built as kernel_oracle.py builds them", { skip: python ? false : "no python3 here" }, () => {
  const questions = Array.from({ length: WORLDS }, (_, seed) => drawKernelWorld(seed, PACKETS)).flatMap(
    ({ host, packets }) => packets.map((packet, index) => ({ host, packet: { ip_id: index + 1, ...packet } })),
  );
  const ran = spawnSync("python3", ["-c", PROGRAM, ORACLE], {
    input: questions.map(({ packet }) => JSON.stringify(packet) + "\n").join(""),
    encoding: "utf8",
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" },
    maxBuffer: 2 ** 28,
  });
  const hexes = ran.stdout.trim().split("\n");
  assert.equal(hexes.length, questions.length, ran.stderr);
  questions.forEach(({ host, packet }, index) => {
    const model = parseHost(JSON.stringify(host), "host.json");
    const read = (line: Json): unknown => parseArrival(JSON.stringify(line), "packets.jsonl", 1, model);
    // what no byte of the packet tells
    const told = ["mark", "uid", "gid", "oif", "src_mac", "dst_mac"];
    const { in: place, ...rest } = packet as Json;
    const kept = Object.fromEntries(Object.entries(rest).filter(([key]) => told.includes(key)));
    assert.deepEqual(read(packet), read({ in: place, hex: hexes[index], ...kept }), JSON.stringify(packet));
  });
});
