// What a packet line says of a packet -> its bytes, exactly as build_packet() of kernel_oracle.py makes them.

import { PROTO_ICMP, PROTO_TCP, PROTO_UDP } from "../net/protocol.ts";
import { checksum, pseudoSum, u16, u32 } from "./bytes.ts";

/** The keys of a packet line that make the packet; what is absent has its default. */
export interface PacketSpec {
  readonly src: number;
  readonly dst: number;
  readonly proto: number;
  readonly sport: number;
  readonly dport: number;
  /** TCP flag bits. */
  readonly flags: number;
  /** undefined: 1000 with SYN, else 1001. */
  readonly seq: number | undefined;
  /** undefined: 1001 with ACK, else 0. */
  readonly ack: number | undefined;
  readonly window: number;
  readonly icmpType: number;
  readonly icmpCode: number;
  readonly icmpId: number;
  /** undefined: 1, but 0 in an ICMP error. */
  readonly icmpSeq: number | undefined;
  /** Bytes of the packet that an ICMP error quotes. */
  readonly inner: Uint8Array | undefined;
  readonly gateway: number;
  readonly ttl: number;
  readonly tos: number;
  readonly df: boolean;
  readonly ipId: number;
  /** Total length; undefined: as long as it is. */
  readonly length: number | undefined;
  readonly payload: Uint8Array | undefined;
  readonly tcpOptions: Uint8Array;
  readonly ipOptions: Uint8Array;
  readonly fragment: { readonly offset: number; readonly length: number | undefined } | undefined;
  readonly badChecksum: boolean;
}

/** The payload of everything that is not TCP and is given none. */
export const DEFAULT_PAYLOAD: Uint8Array = new TextEncoder().encode("oracle..");

const MORE_FRAGMENTS = 0x2000;
const DONT_FRAGMENT = 0x4000;
const ICMP_REDIRECT = 5;
const QUOTED_BYTES = 8;
const NOTHING = new Uint8Array(0);

/** The whole IPv4 packet; or, as a sentence, why there is none. */
export function build(spec: PacketSpec): Uint8Array | string {
  const options = padded(spec.ipOptions);
  const headerLength = 20 + options.length;
  const body = bodyOf(spec, headerLength);
  if (typeof body === "string") return body;

  let fragmentField = spec.df ? DONT_FRAGMENT : 0;
  let part = body;
  if (spec.fragment !== undefined) {
    const { offset, length = body.length - offset } = spec.fragment;
    const end = offset + length;
    if (offset % 8 !== 0 || (end < body.length && end % 8 !== 0)) return "frag: offset and length are multiples of 8";
    part = body.subarray(offset, Math.max(offset, end));
    fragmentField |= (offset / 8) | (end < body.length ? MORE_FRAGMENTS : 0);
  }
  const length = headerLength + part.length;
  if (length > 0xffff) return "the packet is longer than 65535 bytes";
  const header = Uint8Array.from([
    ...[0x40 | (headerLength / 4), spec.tos, ...u16(length), ...u16(spec.ipId), ...u16(fragmentField)],
    ...[spec.ttl, spec.proto, 0, 0, ...u32(spec.src), ...u32(spec.dst), ...options],
  ]);
  header.set(u16(checksum(header)), 10);
  return joined(header, part);
}

function bodyOf(spec: PacketSpec, headerLength: number): Uint8Array | string {
  switch (spec.proto) {
    case PROTO_TCP:
      return tcp(spec, headerLength);
    case PROTO_UDP:
      return udp(spec, headerLength);
    case PROTO_ICMP:
      return icmp(spec, headerLength);
    default:
      return fitted(spec, spec.payload ?? DEFAULT_PAYLOAD, headerLength);
  }
}

function tcp(spec: PacketSpec, headerLength: number): Uint8Array | string {
  const { flags } = spec;
  const options = padded(spec.tcpOptions);
  const ownLength = 20 + options.length;
  const payload = fitted(spec, spec.payload ?? NOTHING, headerLength + ownLength);
  if (typeof payload === "string") return payload;
  const header = [
    ...[...u16(spec.sport), ...u16(spec.dport)],
    ...[...u32(spec.seq ?? (flags & 2 ? 1000 : 1001)), ...u32(spec.ack ?? (flags & 16 ? 1001 : 0))],
    ...[(ownLength / 4) << 4, flags, ...u16(spec.window), 0, 0, 0, 0, ...options],
  ];
  return summed(spec, joined(Uint8Array.from(header), payload), 16);
}

function udp(spec: PacketSpec, headerLength: number): Uint8Array | string {
  const payload = fitted(spec, spec.payload ?? DEFAULT_PAYLOAD, headerLength + 8);
  if (typeof payload === "string") return payload;
  const length = 8 + payload.length;
  if (length > 0xffff) return "the packet is longer than 65535 bytes";
  const header = [...u16(spec.sport), ...u16(spec.dport), ...u16(length), 0, 0];
  return summed(spec, joined(Uint8Array.from(header), payload), 6);
}

function icmp(spec: PacketSpec, headerLength: number): Uint8Array | string {
  const { inner, icmpType } = spec;
  let payload = spec.payload ?? DEFAULT_PAYLOAD;
  let rest = [...u16(spec.icmpId), ...u16(spec.icmpSeq ?? 1)];
  if (inner !== undefined) {
    payload = inner.subarray(0, (inner[0]! & 15) * 4 + QUOTED_BYTES);
    rest = icmpType === ICMP_REDIRECT ? [...u32(spec.gateway)] : [0, 0, ...u16(spec.icmpSeq ?? 0)];
  }
  const fit = fitted(spec, payload, headerLength + 8);
  if (typeof fit === "string") return fit;
  return summed(spec, joined(Uint8Array.from([icmpType, spec.icmpCode, 0, 0, ...rest]), fit), 2);
}

/** Padded or cut, so that the packet gets its total length. */
function fitted(spec: PacketSpec, payload: Uint8Array, before: number): Uint8Array | string {
  if (spec.length === undefined) return payload;
  const room = spec.length - before;
  if (room < 0) return `a total length of ${spec.length} leaves no room for the headers`;
  const fit = new Uint8Array(room);
  fit.set(payload.subarray(0, room));
  return fit;
}

function summed(spec: PacketSpec, body: Uint8Array, offset: number): Uint8Array {
  const { proto } = spec;
  const pseudo = proto === PROTO_ICMP ? 0 : pseudoSum(spec.src, spec.dst, proto, body.length);
  let sum = checksum(body, pseudo);
  if (spec.badChecksum) sum ^= 0x5555;
  // 0 would mean that there is no checksum
  if (proto === PROTO_UDP && sum === 0) sum = 0xffff;
  body.set(u16(sum), offset);
  return body;
}

/** To whole words. */
function padded(options: Uint8Array): Uint8Array {
  return joined(options, new Uint8Array((4 - (options.length % 4)) % 4));
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
