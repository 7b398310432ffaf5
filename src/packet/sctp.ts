// What an SCTP packet holds: a common header of 12 bytes, and chunks one behind the other (RFC 9260, section 3).

import { u16At, u32At } from "./bytes.ts";

export interface SctpPacket {
  readonly tag: number;
  /** The checksum is not the CRC32c of the packet. */
  readonly badChecksum: boolean;
  /** As far as their headers are there. */
  readonly chunks: readonly SctpChunk[];
}

export interface SctpChunk {
  readonly type: number;
  readonly flags: number;
  /** As the chunk says, its header included; 0 ends the walk. */
  readonly length: number;
  /** Of INIT and INIT ACK: the tag that the other side shall use; null where the chunk is cut short. */
  readonly initTag: number | null;
}

const HEADER_BYTES = 12;
const CHUNK_HEADER_BYTES = 4;
const INIT_BYTES = 16;
const CHECKSUM_OFFSET = 8;

/** @param payload what stands behind the IP header; null: it is shorter than the common header */
export function readSctp(payload: Uint8Array): SctpPacket | null {
  if (payload.length < HEADER_BYTES) return null;
  const chunks: SctpChunk[] = [];
  // for_each_sctp_chunk() in net/netfilter/nf_conntrack_proto_sctp.c
  for (let at = HEADER_BYTES; at + CHUNK_HEADER_BYTES <= payload.length;) {
    const length = u16At(payload, at + 2);
    const isWhole = at + CHUNK_HEADER_BYTES + INIT_BYTES <= payload.length;
    chunks.push({
      type: payload[at]!,
      flags: payload[at + 1]!,
      length,
      initTag: isWhole ? u32At(payload, at + CHUNK_HEADER_BYTES) : null,
    });
    if (length === 0) break;
    at += (length + 3) & ~3;
  }
  return { tag: u32At(payload, 4), badChecksum: !hasRightSum(payload), chunks };
}

/** Writes the checksum, as sctp_manip_pkt() in net/netfilter/nf_nat_proto.c does whatever it was before. */
export function sumUpSctp(payload: Uint8Array): void {
  if (payload.length < HEADER_BYTES) return;
  new DataView(payload.buffer, payload.byteOffset).setUint32(CHECKSUM_OFFSET, sumOf(payload), true);
}

function hasRightSum(payload: Uint8Array): boolean {
  return new DataView(payload.buffer, payload.byteOffset).getUint32(CHECKSUM_OFFSET, true) === sumOf(payload);
}

/** CRC32c, its own field taken for zero; it stands in the packet with its lowest byte first (RFC 9260, appendix A). */
function sumOf(payload: Uint8Array): number {
  let crc = 0xffffffff;
  payload.forEach((byte, at) => {
    crc ^= at >= CHECKSUM_OFFSET && at < CHECKSUM_OFFSET + 4 ? 0 : byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 1 ? 0x82f63b78 : 0);
  });
  return ~crc >>> 0;
}
