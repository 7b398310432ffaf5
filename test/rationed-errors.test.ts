// Routing errors and redirects, rationed by sender, of more senders than a table begins with: engine = reference.

import assert from "node:assert/strict";
import { test } from "node:test";
import { compileFirewall } from "../src/firewall.ts";
import { parseHost } from "../src/host/parse.ts";
import { parseArrival } from "../src/packet/line.ts";
import { Reference } from "../src/reference/reference.ts";
import { Draw } from "./support/draw.ts";

const PACKETS = 20_000;
const HOST = parseHost(
  JSON.stringify({
    interfaces: [{ name: "eth0", addresses: ["10.0.0.1/16"] }],
    routes: ["prohibit 192.0.2.0/24"],
    sysctl: { "net.ipv4.conf.all.send_redirects": 1 },
  }),
  "host.json",
);

test("engine and reference ration errors and redirects alike, of thousands of senders that come and go", () => {
  const draw = new Draw(3);
  const rules = { family: 4, tables: [], notes: [] } as const;
  const engine = compileFirewall(rules, HOST, { stateless: true, limitErrors: true });
  const reference = new Reference(rules, HOST, { stateless: true, limitErrors: true });
  let time = 0;
  const replies = new Map<string | null, number>();
  const arrivals = Array.from({ length: PACKETS }, (_, index) => {
    time += draw.chance(0.01) ? draw.between(1, 8000) / 1000 : draw.between(0, 20) / 1000;
    // few that come often, and many that come seldom; which they are drifts
    const sender = draw.chance(0.5) ? draw.below(4) + (index >> 9) : draw.between(1000, 8000);
    const dst = draw.pick(["8.8.8.8", "192.0.2.7", "10.0.77.77"]);
    const line = { in: "eth0", src: `10.0.${100 + (sender >> 8)}.${sender & 255}`, dst, time };
    return parseArrival(JSON.stringify(line), "packets.jsonl", index + 1, HOST);
  });
  const given = engine.run(arrivals);
  arrivals.forEach((arrival, index) => {
    const { outcome } = reference.run(arrival, index);
    assert.deepEqual(given[index]!.outcome, outcome, `packet ${index + 1}`);
    replies.set(outcome.reply, (replies.get(outcome.reply) ?? 0) + 1);
  });
  for (const reply of ["icmp 3/0", "icmp 3/13", "icmp 5/1", null])
    assert.ok((replies.get(reply) ?? 0) > 500, `${reply}`);
});
