// The bytes of packets that the engine sends their way: it knows their words alone, and asks here for what depends on bytes
// (assembly/pieces.ts): datagrams that are put together, packets that are cut.

import * as layout from "../layout.ts";
import { PROTO_SCTP, PROTO_TCP } from "../net/protocol.ts";
import { encode } from "../packet/encode.ts";
import { fragmentSizes, fragmentsOf, pulledSizes } from "../packet/describe.ts";
import type { Packet } from "../packet/packet.ts";
import { rewrite } from "../packet/rewrite.ts";
import { stripped, tcpHeaderBytes } from "../packet/tcp.ts";
import type { Hook } from "../rules/ruleset.ts";
import { writeDetails } from "./details.ts";
import { answerMade, headerOf, quotedOf } from "./generated.ts";
import type { Instance } from "./instance.ts";
import { mssChanged, writeOptions } from "./origins.ts";
import { Reassembly } from "./reassembly.ts";
import { pathOf, writeHeader } from "./records.ts";

/** What assembly/pieces.ts imports. Addresses are bytes of the instance's memory. */
export interface Pieces {
  gather(
    gatherer: number,
    packet: number,
    details: number,
    origin: number,
    bearer: number,
    time: number,
    level: number,
  ): number;
  cut(packet: number, details: number, origin: number, most: number, asItCame: number, result: number): void;
  show(body: number, packet: number, details: number, origin: number): void;
  leaveInPieces(
    decision: number,
    packet: number,
    details: number,
    origin: number,
    most: number,
    asItCame: number,
  ): void;
  spillPath(decision: number, loops: number, path: number): void;
  lay(packet: number, details: number, origin: number, result: number): void;
  strip(packet: number, details: number, origin: number, kinds: number): number;
}

interface Body {
  readonly packet: Packet;
  /** Index of the arrival that it stems from; null: an answer. */
  readonly home: number | null;
  /** Of the fragments that it was put together from. */
  readonly sizes: readonly number[] | null;
}

/** What the engine keeps beside the first fragment: a packet and all that is known of it, and the source of its frame. */
interface Kept {
  readonly context: Uint8Array;
  readonly mac: readonly number[];
}

const CONTEXT_BYTES = 128;
/** Of transport headers that are longer than the shortest fragment. */
const HEADER_BYTES: ReadonlyMap<number, number> = new Map([
  [PROTO_TCP, 20],
  [PROTO_SCTP, 12],
]);
/** ICMP header, the header that it quotes, and the ports behind that. */
const QUOTING_BYTES = 36;

/** Of options of TCP. */
const ALL_KINDS = Array.from({ length: 256 }, (_, kind) => kind);

const PLAIN_HEADER = 20;
/** Of an IP packet, with room for an option that is added. */
const MOST_BYTES = 0x10040;
/** In the place of an address. */
const NOWHERE = 0;
const NOT_ALL = 1;

export interface DatagramsOptions {
  /** Rules ask for origin records. */
  readonly origins: boolean;
  /** How long fragments wait for the others. */
  readonly fragmentSeconds: number;
  /** The address of a packet's bytes in the engine's memory; 0: no rule asks for them. */
  readonly putPayload: (packet: Packet) => number;
  /** Called before the first piece meets a chain. */
  readonly beforePieces: () => void;
}

export class Datagrams implements Pieces {
  readonly #instance: Instance;
  readonly #options: DatagramsOptions;
  readonly #answers: number;
  readonly #reassembly: Reassembly<Kept>;
  #bodies: Body[] = [];
  #laidAt = 0;
  readonly #sizes = new Map<number, readonly number[]>();
  readonly #paths = new Map<number, readonly Hook[]>();
  /** By arrival: what conntrack put together of it first, and what the host did. */
  readonly #wholes = new Map<number, { tracked?: Packet; delivered?: Packet }>();

  /** @param answers address of the answer records */
  constructor(instance: Instance, answers: number, options: DatagramsOptions) {
    this.#instance = instance;
    this.#answers = answers;
    this.#options = options;
    this.#reassembly = new Reassembly(options.fragmentSeconds);
  }

  /** Packets come next: number 1 and so on. */
  begin(packets: readonly Packet[]): void {
    this.#bodies = packets.map((packet, home) => ({ packet, home, sizes: null }));
    this.#sizes.clear();
    this.#paths.clear();
    this.#wholes.clear();
  }

  /** Bytes of payload of each fragment in which the packet with this decision record left; undefined: that was not told. */
  sizesOf(decision: number): readonly number[] | undefined {
    return this.#sizes.get(decision);
  }

  /** Hooks before those that the decision record tells. */
  pathBefore(decision: number): readonly Hook[] {
    return this.#paths.get(decision) ?? [];
  }

  /** The whole that an arrival completed; undefined: none that the packet with this verdict was part of. */
  wholeOf(arrival: number, verdict: number): Packet | undefined {
    const { tracked, delivered } = this.#wholes.get(arrival) ?? {};
    if (verdict === layout.VERDICT_HELD) return undefined;
    // what was delivered of a packet that left is another one
    return verdict === layout.VERDICT_SENT ? tracked : (tracked ?? delivered);
  }

  /** As the packet was made; null: its bytes are not known. */
  bytesOf(body: number): Packet | null {
    if (body >= layout.BODY_ANSWER) {
      const record = this.#answers + (body - layout.BODY_ANSWER) * layout.ANSWER_BYTES;
      return answerMade(this.#instance.view(), record, (answered) => this.bytesOf(answered));
    }
    return this.#bodies[body - 1]?.packet ?? null;
  }

  /** The kernel has chosen the source of a packet of the host, and its checksum does not know. */
  choose(body: number, src: number): void {
    const known = this.#bodies[body - 1];
    if (known !== undefined && src !== 0) this.#bodies[body - 1] = { ...known, packet: { ...known.packet, src } };
  }

  gather(
    gatherer: number,
    at: number,
    details: number,
    origin: number,
    bearer: number,
    time: number,
    level: number,
  ): number {
    const now = this.#packetAt(at, details, origin);
    if (now?.packet.payload == null) return layout.GATHER_UNKNOWN;
    const { packet, body } = now;
    const instance = this.#instance;
    const mac = [layout.ORIGIN_FLAGS, layout.ORIGIN_MAC_HIGH, layout.ORIGIN_MAC_LOW].map((offset) =>
      instance.view().getUint32(origin + offset, true),
    );
    const kept = { context: instance.bytes(at, CONTEXT_BYTES).slice(), mac };
    const whole = this.#reassembly.add(gatherer, packet, kept, time);
    if (whole === null) return layout.GATHER_WAITING;
    instance.bytes(bearer, CONTEXT_BYTES).set(whole.kept.context);
    this.#bodies.push({ packet: whole.packet, home: body.home, sizes: whole.sizes });
    this.show(this.#bodies.length, at, details, origin);
    if (this.#options.origins) this.#giveMac(origin, whole.kept.mac);
    if (level === 0) {
      const wholes = this.#wholes.get(body.home!) ?? {};
      this.#wholes.set(body.home!, wholes);
      if (gatherer === layout.GATHERER_DELIVERY) wholes.delivered ??= whole.packet;
      else wholes.tracked ??= whole.packet;
    }
    const isShort = whole.sizes[0]! < headerBytes(whole.packet);
    return whole.longest * 4 + (isShort ? layout.GATHER_WHOLE_SHORT : layout.GATHER_WHOLE);
  }

  cut(at: number, details: number, origin: number, most: number, asItCame: number, result: number): void {
    const now = this.#packetAt(at, details, origin);
    const first = this.#bodies.length + 1;
    if (now !== null) {
      const sizes = piecesOf(now.packet, now.body, most, asItCame !== 0);
      const { home } = now.body;
      this.#bodies.push(...fragmentsOf(now.packet, sizes).map((packet) => ({ packet, home, sizes: null })));
      this.#options.beforePieces();
    }
    const view = this.#instance.view();
    view.setUint32(result + layout.CUT_FIRST, first, true);
    view.setUint32(result + layout.CUT_COUNT, this.#bodies.length + 1 - first, true);
  }

  show(body: number, at: number, details: number, origin: number): void {
    const { packet } = this.#bodies[body - 1]!;
    const payload = this.#options.putPayload(packet);
    const words = this.#instance.words(at, layout.FIELD_COUNT);
    writeHeader(words, packet);
    const detailWords = this.#instance.words(details, layout.DETAIL_COUNT);
    writeDetails(detailWords, packet);
    detailWords[layout.DETAIL_BODY] = body;
    if (!this.#options.origins) return;
    const originWords = this.#instance.words(origin, layout.ORIGIN_BYTES / 4);
    writeOptions(originWords, packet, payload);
    originWords[layout.ORIGIN_TCP_FLAGS / 4] = layout.ORIGIN_FLAGS_KNOWN | packet.tcpFlags;
  }

  leaveInPieces(decision: number, at: number, details: number, origin: number, most: number, asItCame: number): void {
    const now = this.#packetAt(at, details, origin);
    if (now !== null) this.#sizes.set(decision, piecesOf(now.packet, now.body, most, asItCame !== 0));
  }

  lay(at: number, details: number, origin: number, result: number): void {
    const packet = this.#packetAt(at, details, origin)?.packet;
    const isKnown = packet?.headerLength === PLAIN_HEADER;
    const bytes = isKnown && packet.payload !== null ? encode(packet, packet.payload) : null;
    const place = bytes === null ? NOWHERE : this.#putBytes(bytes);
    const words = this.#instance.words(result, 3);
    words[layout.LAID_AT / 4] = packet !== undefined && !isKnown ? NOT_ALL : place;
    words[layout.LAID_BYTES / 4] = bytes?.length ?? 0;
    words[layout.LAID_FLAGS / 4] =
      (packet?.scattered === true ? layout.LAID_SCATTERED : 0) | (packet?.idUnknown === true ? layout.LAID_NO_ID : 0);
  }

  strip(at: number, details: number, origin: number, kinds: number): number {
    const now = this.#packetAt(at, details, origin);
    if (now === null) return 0;
    const { packet, body } = now;
    const { home } = body;
    const sizes = body.sizes && pulledSizes(body.sizes, tcpHeaderBytes(packet));
    const bits = this.#instance.words(kinds, 8);
    const after = stripped(
      packet,
      ALL_KINDS.filter((kind) => (bits[kind >>> 5]! >>> (kind & 31)) & 1),
    );
    if (after === "drop") throw new Error("a broken header was to be dropped");
    if (after !== packet || sizes !== body.sizes) {
      this.#bodies.push({ packet: after, home, sizes });
      this.show(this.#bodies.length, at, details, origin);
    }
    return Number(sizes === null);
  }

  /** The same room for all packets; the longest fits. */
  #putBytes(bytes: Uint8Array): number {
    if (this.#laidAt === 0) this.#laidAt = this.#instance.allocate(MOST_BYTES);
    this.#instance.bytes(this.#laidAt, bytes.length).set(bytes);
    return this.#laidAt;
  }

  spillPath(decision: number, loops: number, path: number): void {
    this.#paths.set(decision, [...this.pathBefore(decision), ...pathOf(loops, path)]);
  }

  #giveMac(origin: number, [flags, high, low]: readonly number[]): void {
    const view = this.#instance.view();
    const others = view.getUint32(origin + layout.ORIGIN_FLAGS, true) & ~layout.ORIGIN_HAS_MAC;
    view.setUint32(origin + layout.ORIGIN_FLAGS, others | (flags! & layout.ORIGIN_HAS_MAC), true);
    view.setUint32(origin + layout.ORIGIN_MAC_HIGH, high!, true);
    view.setUint32(origin + layout.ORIGIN_MAC_LOW, low!, true);
  }

  /** The packet as it is now; null: its bytes are not known. */
  #packetAt(at: number, details: number, origin: number): { readonly packet: Packet; readonly body: Body } | null {
    const view = this.#instance.view();
    const detail = (offset: number): number => view.getUint32(details + offset, true);
    const number = detail(layout.DETAIL_BODY * 4);
    this.choose(number, detail(layout.DETAIL_CHOSEN * 4));
    const base = this.bytesOf(number);
    if (base === null) return null;
    const option = this.#options.origins ? view.getUint32(origin + layout.ORIGIN_OPTION, true) : 0;
    const inner =
      detail(layout.DETAIL_QUOTED * 4) === layout.QUOTED_NONE
        ? null
        : quotedOf(detail, layout.DETAIL_QUOTED_SRC * 4, base);
    const header = { ...mssChanged(option, base), ...headerOf(view, at, base), ...(inner === null ? {} : { inner }) };
    const badChecksum = (view.getUint32(at + layout.FIELD_FACTS * 4, true) & layout.FACT_BAD_CHECKSUM) !== 0;
    const body = this.#bodies[number - 1] ?? { packet: base, home: null, sizes: null };
    return { packet: { ...rewrite(base, header), badChecksum }, body };
  }
}

function headerBytes({ proto, inner }: Packet): number {
  return inner === null ? (HEADER_BYTES.get(proto) ?? 0) : QUOTING_BYTES;
}

/** As it came, if that fits: ip_do_fragment() in net/ipv4/ip_output.c. */
function piecesOf(packet: Packet, { sizes }: Body, most: number, asItCame: boolean): readonly number[] {
  const room = most - packet.headerLength;
  const fits = sizes?.every((size, index) => size <= room && (size % 8 === 0 || index + 1 === sizes.length));
  return asItCame && fits === true ? sizes! : fragmentSizes(packet, most);
}
