// Packet lines: what is read from them, what is refused, and that a packet can be written as a line again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseHost } from "../src/host/parse.ts";
import { PacketError } from "../src/packet/error.ts";
import { isSkipped, parseArrival } from "../src/packet/line.ts";
import type { Arrival } from "../src/packet/packet.ts";
import { arrivalToLine } from "../src/packet/print.ts";
import { drawKernelWorld } from "./support/kernel-arbitrary.ts";

const HOST = parseHost(
  '{"interfaces": [{"name": "eth0", "addresses": ["10.0.0.1/24"]}, {"name": "eth1", "mac": "02:00:00:00:00:99"}]}',
  "host.json",
);

function read(line: object): Arrival {
  return parseArrival(JSON.stringify(line), "packets.jsonl", 7, HOST);
}

const REFUSED: readonly (readonly [line: string, message: RegExp])[] = [
  ['{"in": "eth0", "dst": "10.0.0.1"', /^packets\.jsonl:7:33: malformed JSON: "," or "}" was expected$/],
  ['{"dst": "10.0.0.1"}', /:7:1: the key "in" is missing/],
  ['{"in": "eth0"}', /the key "dst" is missing/],
  ['{"in": "eth9", "dst": "10.0.0.1"}', /^packets\.jsonl:7:8: in: there is no interface "eth9"$/],
  ['{"in": "eth0", "dst": "10.0.0.1", "sprot": 1}', /sprot: unknown key; known are id, in,/],
  ['{"in": "eth0", "dst": "10.0.0.256"}', /dst: "10\.0\.0\.256" is no IPv4 address/],
  ['{"in": "eth0", "dst": "::1"}', /dst: "::1": IPv6 is not modelled/],
  ['{"in": "eth0", "dst": "10.0.0.1", "sport": 65536}', /sport: a whole number from 0 to 65535 is wanted/],
  ['{"in": "eth0", "dst": "10.0.0.1", "sport": "http"}', /sport: a whole number/],
  ['{"in": "eth0", "dst": "10.0.0.1", "proto": "tpc"}', /proto: "tpc" is no protocol/],
  ['{"in": "eth0", "dst": "10.0.0.1", "proto": 256}', /proto: a whole number from 0 to 255/],
  ['{"in": "eth0", "dst": "10.0.0.1", "flags": "SYNACK"}', /flags: "SYNACK": letters of FSRPAUEC are wanted/],
  ['{"in": "eth0", "dst": "10.0.0.1", "ttl": -1}', /ttl: a whole number from 0 to 255/],
  ['{"in": "eth0", "dst": "10.0.0.1", "len": 27}', /a total length of 27 leaves no room for the headers/],
  ['{"in": "eth0", "dst": "10.0.0.1", "df": 1}', /df: true or false is wanted/],
  ['{"in": "eth0", "dst": "10.0.0.1", "frag": {"offset": 4}}', /frag: offset and length are multiples of 8/],
  ['{"in": "eth0", "dst": "10.0.0.1", "frag": {"at": 8}}', /frag\.at: unknown key; known are offset, length/],
  ['{"in": "eth0", "dst": "10.0.0.1", "payload_hex": "abc"}', /payload_hex: pairs of hexadecimal digits/],
  ['{"in": "eth0", "dst": "10.0.0.1", "ip_options_hex": "07"}', /ip_options_hex: malformed options/],
  ['{"in": "eth0", "dst": "10.0.0.1", "inner": {"src": "1.2.3.4"}}', /inner: the key "dst" is missing/],
  ['{"in": "eth0", "dst": "10.0.0.1", "src_mac": "x"}', /src_mac: "x" is no MAC address/],
  ['{"in": "eth0", "dst": "10.0.0.1", "mark": 1}', /mark: only packets of the host itself have one/],
  ['{"in": "local", "dst": "10.0.0.1", "dst_mac": "ff:ff:ff:ff:ff:ff"}', /dst_mac: only packets that come by/],
  ['{"in": "local", "dst": "10.0.0.1", "oif": "eth7"}', /oif: there is no interface "eth7"/],
  ['{"in": "eth0", "dst": "10.0.0.1", "wait": -1}', /wait: seconds, 0 or more, are wanted/],
  ['{"in": "eth0", "dst": "10.0.0.1", "wait": 1, "time": 1}', /wait: it stands beside time/],
  ['{"in": "eth0", "hex": "60000000000000000000"}', /hex: IPv6 is not modelled/],
  ['{"in": "eth0", "hex": "4500"}', /hex: shorter than an IPv4 header/],
  ['{"in": "eth0", "hex": "45000014000000004011000001020304050607zz"}', /hex: pairs of hexadecimal digits/],
  ['{"in": "eth0", "hex": "4500001400000000401100000102030405060708"}', /hex: the checksum of the IPv4 header/],
];

for (const [line, message] of REFUSED) {
  test(`a packet line is refused with a place: ${line.slice(14, 90)}`, () => {
    assert.throws(
      () => parseArrival(line, "packets.jsonl", 7, HOST),
      (error) => error instanceof PacketError && message.test(error.message) && error.line === 7,
    );
  });
}

test("defaults are those of the oracle", () => {
  const { packet, ...arrival } = read({ in: "eth0", dst: "10.0.0.9" });
  const { payload, ...fields } = packet;
  assert.deepEqual(fields, {
    ...{ src: 0, dst: 0x0a000009, proto: 17, sport: 1024, dport: 0, tcpFlags: 0 },
    ...{ icmpType: 0, icmpCode: 0, icmpId: 0, icmpSeq: 0, ttl: 64, tos: 0, length: 36, headerLength: 20 },
    ...{ sourceRouted: false, ipId: 7, df: false, moreFragments: false, fragmentOffset: 0, badChecksum: false },
    ...{ seq: 0, ack: 0, window: 0, inner: null },
  });
  assert.equal(payload!.length, 16);
  assert.deepEqual(arrival, {
    ...{ id: 7, inIface: "eth0", chooseSource: false, frame: "host", srcMac: 0x02ff00000001 },
    ...{ mark: 0, uid: 0, gid: 0, boundIface: null, time: 0 },
  });
});

test("frames are as a neighbour would send them, unless they are told", () => {
  const frame = (line: object): string => read({ in: "eth0", ...line }).frame;
  assert.equal(frame({ dst: "10.0.0.255" }), "broadcast");
  assert.equal(frame({ dst: "255.255.255.255" }), "broadcast");
  assert.equal(frame({ dst: "224.1.2.3" }), "multicast");
  assert.equal(frame({ dst: "224.1.2.3", dst_mac: "02:00:00:00:00:01" }), "host");
  assert.equal(frame({ dst: "10.0.0.1", dst_mac: "01:00:5e:00:00:01" }), "multicast");
  assert.equal(frame({ dst: "10.0.0.1", dst_mac: "02:00:00:00:00:99" }), "otherhost");
});

test("the clock moves by wait and jumps to time, never back", () => {
  const at = (line: object, time: number): number =>
    parseArrival(JSON.stringify({ in: "eth0", dst: "10.0.0.1", ...line }), "p", 1, HOST, { packets: 3, time }).time;
  assert.equal(at({}, 5), 5);
  assert.equal(at({ wait: 0.5 }, 5), 5.5);
  assert.equal(at({ time: 9 }, 5), 9);
  assert.throws(() => at({ time: 4 }, 5), /time: before the packet in front of it, at 5/);
});

test("blank lines and comments hold no packet", () => {
  assert.deepEqual(["", "  ", "# x", ' {"in": 1}'].map(isSkipped), [true, true, true, false]);
});

test("a packet is written as the shortest line that means the same", () => {
  const again = (line: object): object => arrivalToLine(read(line), HOST);
  assert.deepEqual(again({ in: "eth0", dst: "10.0.0.1", proto: "udp", sport: 1024 }), {
    id: 7,
    in: "eth0",
    dst: "10.0.0.1",
  });
  const syn = { id: "x", in: "eth0", src: "1.2.3.4", dst: "10.0.0.1", proto: "tcp", dport: 80 };
  assert.deepEqual(again({ ...syn, flags: "SYN" }), syn);
  const late = { id: "late", in: "local", time: 4, dst: "10.0.0.1", proto: 99, tos: 8, len: 20, mark: 3 };
  assert.deepEqual(new Set(Object.entries(again(late))), new Set(Object.entries(late)));
});

test("a packet written as a line is the same packet", () => {
  for (let seed = 0; seed < 8; seed++) {
    const { host, packets } = drawKernelWorld(seed, 25);
    const model = parseHost(JSON.stringify(host), "host.json");
    for (const packet of packets) {
      const arrival = parseArrival(JSON.stringify(packet), "p", 1, model);
      const line = arrivalToLine(arrival, model);
      const read = parseArrival(JSON.stringify(line), "p", 1, model);
      assert.deepEqual(
        { ...read, packet: { ...read.packet, ipId: 1 } },
        { ...arrival, packet: { ...arrival.packet, ipId: 1 } },
      );
      // padding behind what an ICMP error quotes, or behind bytes that were given, is written byte by byte
      const padding = "inner" in packet || "payload_hex" in packet ? 2 * Number(packet["len"] ?? 0) : 0;
      const most = JSON.stringify({ id: 1, ...packet }).length + 120 + padding;
      assert.ok(JSON.stringify(line).length <= most, JSON.stringify(line));
    }
  }
});
