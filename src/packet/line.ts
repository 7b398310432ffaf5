// A line of PACKETS.jsonl <-> a packet and how it comes to the host.
//
// Keys and defaults are those of kernel_oracle.py (test/oracle/README.md), with `time` beside `wait`, and `ct_state`. The
// packet is built as bytes and read back, so that lengths, options, fragments and quoted packets are what they are on
// the wire. Keys that do not concern the packet's protocol are ignored, as they are there.

import { parseAddress } from "../net/address.ts";
import { Field } from "../host/field.ts";
import type { Fail } from "../host/field.ts";
import type { Host, Interface } from "../host/host.ts";
import { JsonError, parseJson } from "../host/json.ts";
import { build } from "./build.ts";
import type { PacketSpec } from "./build.ts";
import { checksum, fromHex, u16, u16At } from "./bytes.ts";
import { decode, malformed, optionsOf } from "./decode.ts";
import { PacketError } from "./error.ts";
import type { Arrival } from "./packet.ts";
import { TCP_FLAGS } from "./packet.ts";
import { protocolOf } from "./protocol.ts";

/** What came before a line. */
export interface Before {
  /** Packets, by which `id` and `ip_id` count if they are not given. */
  readonly packets: number;
  /** Seconds on the packets' clock. */
  readonly time: number;
}

const PACKET_KEYS = [
  ...["src", "dst", "proto", "sport", "dport", "flags", "seq", "ack", "window", "icmp_type", "icmp_code", "icmp_id"],
  ...["icmp_seq", "inner", "gateway", "ttl", "tos", "dscp", "df", "ip_id", "len", "payload", "payload_hex"],
  ...["tcp_options_hex", "ip_options_hex", "frag", "bad_checksum", "hex"],
] as const;
const ARRIVAL_KEYS = [
  ...["id", "in", "src_mac", "dst_mac", "mark", "uid", "gid", "oif", "wait", "time", "ct_state", "comment"],
  ...PACKET_KEYS,
] as const;
const LOCAL_KEYS = ["mark", "uid", "gid", "oif"] as const;
const FRAME_KEYS = ["src_mac", "dst_mac"] as const;

type Members = ReadonlyMap<string, Field>;

const U16 = 0xffff;
const U32 = 0xffffffff;
/** 02:ff:00:00:00:01 */
const DEFAULT_SOURCE_MAC = 0x02ff00000001;
const BROADCAST_MAC = 0xffffffffffff;

/** Throws PacketError. `before` tells what the lines before it were; without it the line is the first of its clock. */
export function parseArrival(
  line: string,
  file: string,
  lineNumber: number,
  host: Host,
  before: Before = { packets: lineNumber - 1, time: 0 },
): Arrival {
  const fail: Fail = (reason, key, offset) => {
    throw new PacketError(reason, file, lineNumber, offset + 1, key);
  };
  let whole: Field;
  try {
    whole = new Field(parseJson(line), fail);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return fail(`malformed JSON: ${error.message}`, "", error.offset);
  }
  return readArrival(whole, host, before);
}

/** Lines that hold no packet: blank ones and comments. */
export function isSkipped(line: string): boolean {
  const text = line.trim();
  return text === "" || text.startsWith("#");
}

function readArrival(whole: Field, host: Host, before: Before): Arrival {
  const members: Members = whole.membersOf(ARRIVAL_KEYS);
  const inField = members.get("in") ?? whole.fail('the key "in" is missing');
  const name = inField.string();
  const iface = host.interfaces.find((one) => one.name === name);
  if (name !== "local" && iface === undefined) return inField.fail(`there is no interface "${name}"`);

  const bytes = readPacket(whole, members, (before.packets % U16) + 1, name === "local");
  const packet = decode(bytes);
  const common = {
    id: readId(members.get("id"), before),
    packet,
    time: readTime(members, before),
    ...readCtState(members.get("ct_state")),
  };
  if (iface === undefined) {
    for (const key of FRAME_KEYS) members.get(key)?.fail("only packets that come by an interface have one");
    return {
      ...common,
      inIface: null,
      chooseSource: packet.src === 0,
      frame: "host",
      srcMac: null,
      mark: members.get("mark")?.integer(0, U32) ?? 0,
      uid: members.get("uid")?.integer(0, U32 - 1) ?? 0,
      gid: members.get("gid")?.integer(0, U32 - 1) ?? 0,
      boundIface: readBound(members.get("oif"), host),
    };
  }
  for (const key of LOCAL_KEYS) members.get(key)?.fail("only packets of the host itself have one");
  const srcMac = readMac(members.get("src_mac")) ?? DEFAULT_SOURCE_MAC;
  return {
    ...common,
    inIface: name,
    chooseSource: false,
    frame: frameOf(readMac(members.get("dst_mac")), iface, packet.dst),
    srcMac: name === "lo" ? 0 : srcMac,
    mark: 0,
    uid: 0,
    gid: 0,
    boundIface: null,
  };
}

function readId(field: Field | undefined, before: Before): string | number {
  if (field === undefined) return before.packets + 1;
  const { json } = field;
  return json.kind === "string" || json.kind === "number" ? json.value : field.fail("a string or a number is wanted");
}

function readTime(members: Members, before: Before): number {
  const time = members.get("time");
  if (time === undefined) return before.time + (members.get("wait") === undefined ? 0 : seconds(members.get("wait")!));
  members.get("wait")?.fail("it stands beside time, which says the same");
  const value = seconds(time);
  return value < before.time ? time.fail(`before the packet in front of it, at ${before.time}`) : value;
}

const TOLD_STATES = ["INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED"] as const;

/** The state of the connection told, as synthetic packets have it. */
function readCtState(field: Field | undefined): Pick<Arrival, "ctState"> {
  if (field === undefined) return {};
  const text = field.string();
  const ctState = TOLD_STATES.find((state) => state === text);
  return ctState === undefined ? field.fail(`one of ${TOLD_STATES.join(", ")} is wanted`) : { ctState };
}

function seconds(field: Field): number {
  const { json } = field;
  return json.kind === "number" && json.value >= 0 ? json.value : field.fail("seconds, 0 or more, are wanted");
}

function readBound(field: Field | undefined, host: Host): string | null {
  if (field === undefined) return null;
  const name = field.string();
  return host.interfaces.some((one) => one.name === name) ? name : field.fail(`there is no interface "${name}"`);
}

function readMac(field: Field | undefined): number | null {
  if (field === undefined) return null;
  const text = field.string();
  if (!/^[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}$/.test(text)) return field.fail(`"${text}" is no MAC address`);
  return text.split(":").reduce((mac, byte) => mac * 256 + parseInt(byte, 16), 0);
}

/** What eth_type_trans() in net/ethernet/eth.c sees; without a given address the frame is sent as a neighbour would. */
function frameOf(dstMac: number | null, iface: Interface, dst: number): Arrival["frame"] {
  if (dstMac === null) {
    if (iface.name === "lo") return "host";
    const subnets = iface.addresses.filter((one) => one.peer === undefined);
    if (dst === U32 || subnets.some((one) => one.broadcast === dst)) return "broadcast";
    return dst >>> 28 === 14 ? "multicast" : "host";
  }
  if (dstMac === (iface.mac ?? 0)) return "host";
  // lo has no broadcast address
  if (dstMac === BROADCAST_MAC && iface.name !== "lo") return "broadcast";
  // the lowest bit of the first byte
  return Math.floor(dstMac / 2 ** 40) % 2 === 1 ? "multicast" : "otherhost";
}

// The packet

function readPacket(whole: Field, members: Members, ipId: number, local: boolean): Uint8Array {
  const hex = members.get("hex");
  if (hex !== undefined) return readHex(hex, local);
  const options = readHexBytes(members.get("ip_options_hex"), 40);
  if (optionsOf(options) === null)
    members.get("ip_options_hex")!.fail("malformed options, or such as are not modelled");
  const bytes = build(readSpec(whole, members, ipId, options));
  return typeof bytes === "string" ? whole.fail(bytes) : bytes;
}

function readHex(field: Field, local: boolean): Uint8Array {
  let bytes = fromHex(field.string()) ?? field.fail("pairs of hexadecimal digits are wanted");
  if (local && bytes.length >= 20) {
    // raw_send_hdrinc() in net/ipv4/raw.c fills them in
    bytes.set(u16(bytes.length), 2);
    bytes.set([0, 0], 10);
    bytes.set(u16(checksum(bytes.subarray(0, (bytes[0]! & 15) * 4))), 10);
  }
  const fault = malformed(bytes);
  if (fault !== null) field.fail(fault);
  const header = bytes.subarray(0, (bytes[0]! & 15) * 4);
  if (checksum(header) !== 0) field.fail("the checksum of the IPv4 header is wrong: it would never reach netfilter");
  if (optionsOf(header.subarray(20)) === null) field.fail("malformed IP options, or such as are not modelled");
  bytes = bytes.slice(0, u16At(bytes, 2));
  return bytes;
}

function readSpec(whole: Field, members: Members, ipId: number, ipOptions: Uint8Array): PacketSpec {
  const u16Of = (key: string, otherwise: number): number => members.get(key)?.integer(0, U16) ?? otherwise;
  const byteOf = (key: string, otherwise: number): number => members.get(key)?.integer(0, 255) ?? otherwise;
  const dscp = members.get("dscp")?.integer(0, 63) ?? 0;
  const inner = members.get("inner");
  return {
    src: readAddress(members.get("src")) ?? 0,
    dst: readAddress(members.get("dst") ?? whole.fail('the key "dst" is missing'))!,
    proto: readProtocol(members.get("proto")),
    sport: u16Of("sport", 1024),
    dport: u16Of("dport", 0),
    flags: readFlags(members.get("flags")),
    seq: members.get("seq")?.integer(0, U32),
    ack: members.get("ack")?.integer(0, U32),
    window: u16Of("window", U16),
    icmpType: byteOf("icmp_type", 8),
    icmpCode: byteOf("icmp_code", 0),
    icmpId: u16Of("icmp_id", 1),
    icmpSeq: members.get("icmp_seq")?.integer(0, U16),
    inner: inner === undefined ? undefined : readPacket(inner, inner.membersOf(PACKET_KEYS), 1, false),
    gateway: readAddress(members.get("gateway")) ?? 0,
    ttl: byteOf("ttl", 64),
    tos: byteOf("tos", dscp * 4),
    df: members.get("df")?.boolean() ?? false,
    ipId: u16Of("ip_id", ipId),
    length: members.get("len")?.integer(20, U16),
    payload: readPayload(members),
    tcpOptions: readHexBytes(members.get("tcp_options_hex"), 40),
    ipOptions,
    fragment: readFragment(members.get("frag")),
    badChecksum: members.get("bad_checksum")?.boolean() ?? false,
  };
}

function readAddress(field: Field | undefined): number | null {
  if (field === undefined) return null;
  const text = field.string();
  if (text.includes(":")) field.fail(`"${text}": IPv6 is not modelled`);
  return parseAddress(text) ?? field.fail(`"${text}" is no IPv4 address`);
}

function readProtocol(field: Field | undefined): number {
  if (field === undefined) return 17;
  if (field.json.kind === "number") return field.integer(0, 255);
  const text = field.string();
  return protocolOf(text) ?? field.fail(`"${text}" is no protocol: a name, or a number from 0 to 255, is wanted`);
}

const FLAG_BITS = new Map<string, number>(Object.entries(TCP_FLAGS));
const FLAG_LETTERS = new Map<string, number>(Object.entries(TCP_FLAGS).map(([name, bit]) => [LETTER(name), bit]));

function LETTER(name: string): string {
  return name === "ECE" ? "E" : name === "CWR" ? "C" : name.slice(0, 1);
}

/** `SA`, `SYN,ACK`, `NONE` or a number. */
function readFlags(field: Field | undefined): number {
  if (field === undefined) return TCP_FLAGS.SYN;
  if (field.json.kind === "number") return field.integer(0, 255);
  const text = field.string().toUpperCase();
  if (text === "" || text === "NONE") return 0;
  const words = text.split(/[,| ]+/);
  const bits = words.every((word) => FLAG_BITS.has(word))
    ? words.map((word) => FLAG_BITS.get(word)!)
    : Array.from(text, (letter) => FLAG_LETTERS.get(letter) ?? field.fail(`"${text}": letters of FSRPAUEC are wanted`));
  return bits.reduce((flags, bit) => flags | bit, 0);
}

function readPayload(members: Members): Uint8Array | undefined {
  const text = members.get("payload");
  const hex = members.get("payload_hex");
  if (text !== undefined && hex !== undefined) hex.fail("it stands beside payload");
  return hex === undefined
    ? text === undefined
      ? undefined
      : new TextEncoder().encode(text.string())
    : readHexBytes(hex, U16);
}

function readHexBytes(field: Field | undefined, most: number): Uint8Array {
  if (field === undefined) return new Uint8Array(0);
  const bytes = fromHex(field.string()) ?? field.fail("pairs of hexadecimal digits are wanted");
  return bytes.length <= most ? bytes : field.fail(`more than ${most} bytes`);
}

function readFragment(field: Field | undefined): PacketSpec["fragment"] {
  if (field === undefined) return undefined;
  const members = field.membersOf(["offset", "length"]);
  return { offset: members.get("offset")?.integer(0, 65528) ?? 0, length: members.get("length")?.integer(0, U16) };
}
