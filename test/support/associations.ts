// SCTP packets of associations, and UDP-Lite packets, as packet lines: their bytes are drawn whole.

import { checksum, pseudoSum, u16, u16At, u32 } from "../../src/packet/bytes.ts";
import { parseAddress } from "../../src/net/address.ts";
import { readSctp, sumUpSctp } from "../../src/packet/sctp.ts";
import type { Draw } from "./draw.ts";
import type { Json } from "./oracle.ts";

const [DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR] = [
  ...[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
] as const;
const [COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE] = [10, 11, 14] as const;

/** The tags that either side gives to the other. */
const CLIENT_TAG = 0x11;
const SERVER_TAG = 0x22;
const OPENING = [INIT, INIT, INIT, INIT, INIT, INIT, HEARTBEAT, SHUTDOWN_ACK, DATA, COOKIE_ECHO, ABORT, ERROR];
const ANY = [
  ...[DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR, COOKIE_ECHO],
  ...[COOKIE_ACK, SHUTDOWN_COMPLETE, 192],
];
/** What the other side says to a chunk. */
const ANSWERS: Readonly<Record<number, number>> = {
  [INIT]: INIT_ACK,
  [INIT_ACK]: COOKIE_ECHO,
  [COOKIE_ECHO]: COOKIE_ACK,
  [SHUTDOWN]: SHUTDOWN_ACK,
  [SHUTDOWN_ACK]: SHUTDOWN_COMPLETE,
  [HEARTBEAT]: HEARTBEAT_ACK,
  [DATA]: SACK,
};

/** Whose packet it is, as far as the bytes tell: the client's packets bear the server's tag. */
type Side = "client" | "server";

export function firstOfAssociation(draw: Draw, line: Json): Json {
  const [sport, dport] = [draw.pick([1024, 5000, 40000]), draw.pick([80, 443, 3868])];
  return association(draw, line, { sport, dport }, "client", draw.pick(OPENING));
}

/** @param payload of the packet that is answered; `ports` as the answer has them */
export function answerOfAssociation(draw: Draw, line: Json, ports: Ports, payload: Uint8Array): Json {
  const sctp = readSctp(payload);
  const type = ANSWERS[sctp?.chunks[0]?.type ?? -1] ?? draw.pick([DATA, SHUTDOWN, HEARTBEAT, COOKIE_ACK]);
  const side = type === COOKIE_ECHO || sctp?.tag === CLIENT_TAG ? "client" : "server";
  return association(draw, line, ports, side, draw.chance(0.8) ? type : draw.pick(ANY));
}

export function nextOfAssociation(draw: Draw, line: Json, ports: Ports, payload: Uint8Array): Json {
  const side = readSctp(payload)?.tag === CLIENT_TAG ? "server" : "client";
  const type = draw.chance(0.6) ? draw.pick([COOKIE_ECHO, DATA, SHUTDOWN, HEARTBEAT, INIT]) : draw.pick(ANY);
  return association(draw, line, ports, side, type);
}

export interface Ports {
  readonly sport: number;
  readonly dport: number;
}

function association(draw: Draw, line: Json, { sport, dport }: Ports, side: Side, type: number): Json {
  const own = type === INIT ? 0 : side === "client" ? SERVER_TAG : CLIENT_TAG;
  const tag = draw.chance(0.1) ? draw.pick([0, CLIENT_TAG, SERVER_TAG, 7]) : own;
  const others = draw.chance(0.15) ? [draw.pick(ANY), draw.pick([DATA, HEARTBEAT, HEARTBEAT_ACK])] : [];
  const given = draw.chance(0.1) ? 7 : side === "client" ? CLIENT_TAG : SERVER_TAG;
  const flags = draw.chance(0.15) ? 1 : 0;
  const chunks = [type, ...others].flatMap((one) => chunk(one, flags, given));
  const bytes = new Uint8Array([...u16(sport), ...u16(dport), ...u32(tag), 0, 0, 0, 0, ...chunks]);
  sumUpSctp(bytes);
  if (draw.chance(0.04)) bytes[8]! ^= 1;
  const shown = draw.chance(0.04) ? bytes.subarray(0, draw.pick([8, 11, 12, 14, 16, 20])) : bytes;
  return { ...line, proto: "sctp", payload_hex: Buffer.from(shown).toString("hex") };
}

function chunk(type: number, flags: number, tag: number): number[] {
  const body =
    type === INIT || type === INIT_ACK ? [...u32(tag), ...u32(65535), ...u16(1), ...u16(1), ...u32(1)] : [1, 2, 3, 4];
  return [type, flags, ...u16(4 + body.length), ...body];
}

/** UDP-Lite: what the checksum covers is drawn too, and whose number it has, for conntrack wants that of UDP. */
export function liteDatagram(draw: Draw, line: Json): Json {
  const addressOf = (given: unknown): number => (typeof given === "string" ? parseAddress(given)! : 0);
  const [src, dst] = [addressOf(line["src"]), addressOf(line["dst"])];
  const covered = draw.pick([0, 8, 8, 10, 12, 16, 7, 17]);
  const bytes = new Uint8Array([
    ...u16(1024),
    ...u16(draw.pick([53, 80])),
    ...u16(covered),
    0,
    0,
    ...u32(1),
    ...u32(2),
  ]);
  const sum = checksum(
    bytes.subarray(0, covered || bytes.length),
    pseudoSum(src, dst, draw.chance(0.2) ? 136 : 17, bytes.length),
  );
  bytes.set(u16(draw.chance(0.2) ? draw.pick([0, sum ^ 1]) : sum), 6);
  return { ...line, proto: "udplite", payload_hex: Buffer.from(bytes).toString("hex") };
}

/** The ports of the bytes. */
export function portsOf(payload: Uint8Array): Ports {
  return payload.length < 4 ? { sport: 0, dport: 0 } : { sport: u16At(payload, 0), dport: u16At(payload, 2) };
}
