// What a million connections cost: their first packets, then packets of both directions in an order that no cache foresees.
// npx tsx bench/flows.ts [--flows N]; rates by processor time, so that a busy machine says the same.

import { InterfaceTable } from "../src/compile/interfaces.ts";
import { loadHost } from "../src/engine/host.ts";
import { Instance } from "../src/engine/instance.ts";
import { parseHost } from "../src/host/parse.ts";
import * as layout from "../src/layout.ts";
import { Draw } from "../test/support/draw.ts";

const HOST = {
  interfaces: [
    { name: "eth0", addresses: ["10.0.0.1/8"] },
    { name: "eth1", addresses: ["192.0.2.1/24"] },
  ],
};
const SERVER = 0xc0000207;
const CLIENTS = 0x0a000100;
const BATCH = 1024;

const flag = process.argv.indexOf("--flows");
const flows = flag < 0 ? 1 << 20 : Number(process.argv[flag + 1]);
const host = parseHost(JSON.stringify(HOST), "host.json");
const interfaces = new InterfaceTable(host.interfaces.map(({ name }) => name));
const instance = new Instance();
instance.exports.setLookUp(0, instance.allocate(64));
instance.exports.setGuards(instance.allocateZeroed(64), 1);
const firewall = loadHost(instance, host, interfaces, { tracking: true, nat: true, nft: false, draws: 0 });
const before = instance.memoryBytes;
if (instance.exports.setFlows(flows) === 0) throw new Error(`there is no memory for ${flows} connections`);
const packets = instance.allocateZeroed(flows * layout.PACKET_BYTES);
const decisions = instance.allocate(BATCH * layout.DECISION_BYTES);

const order = Uint32Array.from({ length: flows }, (_, i) => i);
const draw = new Draw(1);
for (let i = flows - 1; i > 0; i--) {
  const j = draw.below(i + 1);
  [order[i], order[j]] = [order[j]!, order[i]!];
}

write(false);
run("first packets");
write(true);
run("answers");
run("answers again");
write(false);
run("packets of the clients");
const bytes = instance.memoryBytes - before - flows * layout.PACKET_BYTES;
console.log(`${(bytes / flows).toFixed(0)} bytes a connection at the most (memory grows by an eighth at a time)`);

function write(reply: boolean): void {
  const words = instance.words(packets, flows * layout.FIELD_COUNT);
  for (let i = 0; i < flows; i++) {
    const client = CLIENTS + (order[i]! >>> 4);
    const port = 1024 + (order[i]! & 15);
    const at = i * layout.FIELD_COUNT;
    words[at + layout.FIELD_SRC] = reply ? SERVER : client;
    words[at + layout.FIELD_DST] = reply ? client : SERVER;
    words[at + layout.FIELD_SPORT] = reply ? 53 : port;
    words[at + layout.FIELD_DPORT] = reply ? port : 53;
    words[at + layout.FIELD_PROTO] = 17;
    words[at + layout.FIELD_IN_IFACE] = interfaces.numberOf(reply ? "eth1" : "eth0");
    words[at + layout.FIELD_CT_STATE] = layout.CT_FIRST;
    words[at + layout.FIELD_TTL] = 64;
    words[at + layout.FIELD_LENGTH] = 60;
    words[at + layout.FIELD_TRANSPORT] = 40;
  }
}

function run(name: string): void {
  const began = process.cpuUsage().user;
  for (let from = 0; from < flows; from += BATCH) {
    const count = Math.min(BATCH, flows - from);
    instance.exports.way(firewall, packets + from * layout.PACKET_BYTES, 0, count, decisions, 0, 0, 0);
  }
  const seconds = (process.cpuUsage().user - began) / 1e6;
  console.log(`${(flows / seconds / 1e6).toFixed(2)} million/s  ${name}`);
}
