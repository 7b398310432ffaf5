// The table of connections, with more of them than any sequence of the other tests: all are found again in both
// directions, those whose time has passed are not, room is used again, and a full table ends as the kernel's does.

import assert from "node:assert/strict";
import { test } from "node:test";
import { InterfaceTable } from "../src/compile/interfaces.ts";
import { loadHost } from "../src/engine/host.ts";
import { Instance } from "../src/engine/instance.ts";
import { parseHost } from "../src/host/parse.ts";
import * as layout from "../src/layout.ts";
import { Draw } from "./support/draw.ts";

const HOST = parseHost(
  JSON.stringify({
    interfaces: [
      { name: "eth0", addresses: ["10.0.0.1/8"] },
      { name: "eth1", addresses: ["192.0.2.1/24"] },
    ],
  }),
  "host.json",
);
const INTERFACES = new InterfaceTable(HOST.interfaces.map(({ name }) => name));
const UDP = 17;
const SERVER = 0xc0000207;
const CLIENTS = 0x0a000100;
const BATCH = 1024;

/** Flows of one UDP datagram each through a host without rules. */
class Flows {
  readonly #instance = new Instance();
  readonly #firewall: number;
  readonly #packets: number;
  readonly #decisions: number;
  readonly #times: number;

  constructor(most: number) {
    const instance = this.#instance;
    instance.exports.setLookUp(0, instance.allocate(64));
    instance.exports.setGuards(instance.allocateZeroed(64), 1);
    const tables = { tracking: true, datagrams: true, nat: false, nft: false, draws: 0 };
    this.#firewall = loadHost(instance, HOST, INTERFACES, tables);
    assert.equal(instance.exports.setFlows(most, 0), 1);
    this.#packets = instance.allocateZeroed(BATCH * layout.PACKET_BYTES);
    this.#decisions = instance.allocate(BATCH * layout.DECISION_BYTES);
    this.#times = instance.allocate(BATCH * 8);
  }

  /** Bytes in use. */
  get usedBytes(): number {
    return this.#instance.exports.mark() >>> 0;
  }

  /** Records looked at to know what has timed out. */
  get lookedAt(): number {
    return Number(this.#instance.exports.lookedAt.value) >>> 0;
  }

  get count(): number {
    return Number(this.#instance.exports.flowCount.value);
  }

  get memoryBytes(): number {
    return this.#instance.memoryBytes;
  }

  /** Sends a packet of each of these flows; gives for each the state of its connection, or "dropped". */
  send(first: number, end: number, reply: boolean, seconds: number): ("NEW" | "ESTABLISHED" | "dropped")[] {
    const states: ("NEW" | "ESTABLISHED" | "dropped")[] = [];
    const instance = this.#instance;
    for (let from = first; from < end; from += BATCH) {
      const count = Math.min(BATCH, end - from);
      for (let i = 0; i < count; i++) this.#write(i, from + i, reply, seconds);
      instance.exports.way(this.#firewall, this.#packets, 0, count, this.#decisions, 0, this.#times, 0);
      const view = instance.view();
      for (let i = 0; i < count; i++) {
        const at = this.#decisions + i * layout.DECISION_BYTES;
        const forwarded = view.getUint8(at + layout.DECISION_VERDICT) === layout.VERDICT_FORWARDED;
        const state = view.getUint8(at + layout.DECISION_CT_STATE);
        states.push(!forwarded ? "dropped" : state === layout.CT_NEW ? "NEW" : "ESTABLISHED");
      }
    }
    return states;
  }

  #write(i: number, flow: number, reply: boolean, seconds: number): void {
    const words = this.#instance.words(this.#packets + i * layout.PACKET_BYTES, layout.FIELD_COUNT);
    const client = CLIENTS + (flow >>> 4);
    const port = 1024 + (flow & 15);
    words[layout.FIELD_SRC] = reply ? SERVER : client;
    words[layout.FIELD_DST] = reply ? client : SERVER;
    words[layout.FIELD_SPORT] = reply ? 53 : port;
    words[layout.FIELD_DPORT] = reply ? port : 53;
    words[layout.FIELD_PROTO] = UDP;
    words[layout.FIELD_IN_IFACE] = INTERFACES.numberOf(reply ? "eth1" : "eth0");
    words[layout.FIELD_CT_STATE] = layout.CT_FIRST;
    words[layout.FIELD_TTL] = 64;
    words[layout.FIELD_LENGTH] = 60;
    words[layout.FIELD_TRANSPORT] = 40;
    this.#instance.view().setFloat64(this.#times + i * 8, seconds, true);
  }
}

function allAre(states: readonly string[], state: string): void {
  const other = states.findIndex((one) => one !== state);
  assert.equal(other, -1, `flow ${other} of ${states.length} is ${states[other]!}, not ${state}`);
}

test("a quarter of a million connections are found again from both sides, until their time has passed", () => {
  const flows = new Flows(1 << 18);
  const count = 1 << 18;
  allAre(flows.send(0, count, false, 0), "NEW");
  allAre(flows.send(0, count, true, 29), "ESTABLISHED");
  allAre(flows.send(0, count, false, 58), "ESTABLISHED");
  allAre(flows.send(0, count, true, 600), "NEW");
});

test("a million connections are alive at once, and each costs at most 128 bytes", () => {
  const count = 1 << 20;
  const empty = new Flows(1024).usedBytes;
  const flows = new Flows(count);
  allAre(flows.send(0, count, false, 0), "NEW");
  assert.equal(flows.count, count);
  const each = (flows.usedBytes - empty) / count;
  assert.ok(each <= 128, `${each} bytes`);
  allAre(flows.send(0, count, true, 29), "ESTABLISHED");
  assert.equal(flows.count, count);
});

test("memory does not grow with connections that have ended", () => {
  const flows = new Flows(1 << 16);
  const step = 1 << 12;
  let memory = 0;
  for (let round = 0; round < 200; round++) {
    allAre(flows.send(round * step, (round + 1) * step, false, round * 10), "NEW");
    if (round === 20) memory = flows.memoryBytes;
  }
  assert.equal(flows.memoryBytes, memory);
});

test("a full table makes room by ending connections without an answer, and drops packets where there is none", () => {
  const flows = new Flows(2048);
  allAre(flows.send(0, 2048, false, 0), "NEW");
  // nobody has answered: early_drop() finds room
  const more = flows.send(2048, 2304, false, 1);
  assert.ok(more.filter((state) => state === "NEW").length > 200);

  const busy = new Flows(2048);
  busy.send(0, 2048, false, 0);
  busy.send(0, 2048, true, 1);
  // streams of more than two seconds are assured, and stay
  allAre(busy.send(0, 2048, false, 4), "ESTABLISHED");
  allAre(busy.send(2048, 2304, false, 5), "dropped");
  allAre(busy.send(0, 2048, true, 6), "ESTABLISHED");
  // ... until they time out
  allAre(busy.send(2048, 2304, false, 200), "NEW");
});

test("who comes to a full table costs a look at a few records, whatever the clock does", () => {
  const most = 1 << 14;
  for (const order of ["in turn", "at random", "all but at once"] as const) {
    const flows = new Flows(most);
    const draw = new Draw(1);
    // their times pass one by one, in an order of their own
    for (let flow = 0; flow < most; flow++) flows.send(flow, flow + 1, false, order === "in turn" ? flow * 1e-4 : 0);
    for (let flow = 0; flow < most && order !== "in turn"; flow++) {
      const at = order === "at random" ? draw.below(20_000) * 1e-4 : 1 + (flow % 7) * 1e-7;
      flows.send(flow, flow + 1, false, at);
    }
    const before = flows.lookedAt;
    let taken = 0;
    const began = flows.count;
    for (let flow = most; flow < 2 * most; flow++) {
      const [state] = flows.send(flow, flow + 1, false, 30 + (flow - most) * 1.2e-4);
      if (state === "NEW") taken++;
    }
    assert.equal(began, most);
    assert.ok(taken > most / 2, `${order}: ${taken} found room`);
    const each = (flows.lookedAt - before) / most;
    assert.ok(each < 64, `${order}: ${each} records for each`);
  }
});
