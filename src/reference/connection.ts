// The table of connections: an entry for each, found by the packets of either direction.
//
// Follows struct nf_conn and nf_conntrack_core.c in net/netfilter. An entry is made by a flow's first packet, but put into
// the table (confirmed) only when that packet has come to the end of its way. What changes is told to listeners when the
// next packet of the connection comes to the end of its way: nf_ct_deliver_cached_events().

import type { ConnectionEvent, Tuple } from "../classifier.ts";
import type { Packet } from "../packet/packet.ts";
import type { SctpState } from "./sctp.ts";
import type { TcpState } from "./tcp.ts";
import { TCP_STATE_NAMES } from "./tcp.ts";
import { keyOf, sameTuple } from "./tuple.ts";

/** The packets of a connection go as the first one, or the other way. */
export type Direction = "original" | "reply";

/** Equal tuples of different zones are different connections. `both`: the zone holds in both directions. */
export interface Zone {
  readonly id: number;
  readonly direction: Direction | "both";
}

export const DEFAULT_ZONE: Zone = { id: 0, direction: "both" };

export interface Connection {
  readonly original: Tuple;
  /** What answers look like: NAT of the connection stands here. */
  reply: Tuple;
  readonly zone: Zone;
  confirmed: boolean;
  dying: boolean;
  seenReply: boolean;
  assured: boolean;
  /** NAT changes it. */
  sourceNat: boolean;
  destinationNat: boolean;
  /** NAT has been asked. */
  sourceDone: boolean;
  destinationDone: boolean;
  /** One of its ports was drawn by lot, or is that of a connection whose was. */
  drawn: boolean;
  mark: number;
  /** Seconds on the packets' clock; until it is confirmed, seconds from then. */
  expires: number;
  /** Of UDP: from when on it is a stream. */
  streamAt: number;
  tcp: TcpState | null;
  sctp: SctpState | null;
  /** The interface that a MASQUERADE was made for. */
  masqueradedOn: string | null;
  readonly counted: Record<Direction, { packets: number; bytes: number }>;
  /** Nobody has been told yet. */
  readonly news: Set<"new" | "reply" | "assured" | "protocol" | "mark">;
}

interface Entry {
  readonly connection: Connection;
  readonly direction: Direction;
}

export function makeConnection(original: Tuple, reply: Tuple, zone: Zone): Connection {
  return {
    ...{ original, reply, zone, confirmed: false, dying: false, seenReply: false, assured: false },
    ...{ sourceNat: false, destinationNat: false, sourceDone: false, destinationDone: false, drawn: false },
    ...{ mark: 0, expires: 0, streamAt: 0, tcp: null, sctp: null, masqueradedOn: null },
    counted: { original: { packets: 0, bytes: 0 }, reply: { packets: 0, bytes: 0 } },
    news: new Set(),
  };
}

export function tupleIn(connection: Connection, direction: Direction): Tuple {
  return direction === "original" ? connection.original : connection.reply;
}

export function opposite(direction: Direction): Direction {
  return direction === "original" ? "reply" : "original";
}

export class Connections {
  readonly #byTuple = new Map<string, Entry[]>();
  /** Those whose source NAT has seen, newest first, by protocol, source address and port. */
  readonly #bySource = new Map<string, Connection[]>();
  readonly #unconfirmed = new Set<Connection>();
  #events: ConnectionEvent[] = [];
  #now = 0;

  /** A packet comes at this time: what has expired until then ends. */
  start(now: number): void {
    this.#now = now;
    this.#events = [];
    for (const connection of this.#all()) if (connection.expires <= now) this.kill(connection);
  }

  get now(): number {
    return this.#now;
  }

  get events(): readonly ConnectionEvent[] {
    return this.#events;
  }

  get size(): number {
    return [...this.#all()].length;
  }

  /** The packet has gone its way: connections that it did not confirm are gone. */
  end(): void {
    for (const connection of this.#unconfirmed) if (!connection.confirmed) this.#forgetSource(connection);
    this.#unconfirmed.clear();
  }

  /** Without a word to anybody. */
  clear(): void {
    this.#byTuple.clear();
    this.#bySource.clear();
  }

  find(tuple: Tuple, zone: Zone): Entry | null {
    return this.#at(tuple, zone, "original")[0] ?? this.#at(tuple, zone, "reply")[0] ?? null;
  }

  /**
   * What has the tuple, in the chain of the zone that is `side`'s: the zone of its direction is part of a tuple's hash, and is
   * compared too (hash_conntrack_raw(), nf_ct_key_equal()).
   */
  #at(tuple: Tuple, zone: Zone, side: Direction): readonly Entry[] {
    return (this.#byTuple.get(keyOf(tuple)) ?? []).filter(({ connection, direction }) => {
      const id = zoneIn(connection.zone, direction);
      return id === zoneIn(zone, side) && id === zoneIn(zone, direction);
    });
  }

  /** nf_conntrack_tuple_taken(): another connection has it; not one of the same first packet. */
  isTaken(tuple: Tuple, own: Connection): boolean {
    return this.#at(tuple, own.zone, "reply").some(
      ({ connection }) =>
        connection !== own &&
        !(
          sameTuple(connection.original, own.original) &&
          zoneIn(connection.zone, "original") === zoneIn(own.zone, "original")
        ),
    );
  }

  make(original: Tuple, reply: Tuple, zone: Zone): Connection {
    const connection = makeConnection(original, reply, zone);
    this.#unconfirmed.add(connection);
    return connection;
  }

  /** False if another connection has one of its tuples: then the packet is dropped (__nf_conntrack_confirm()). */
  confirm(connection: Connection): boolean {
    if (connection.dying) return false;
    const { original, reply, zone } = connection;
    if (this.#at(original, zone, "original").length > 0 || this.#at(reply, zone, "reply").length > 0) return false;
    connection.confirmed = true;
    connection.expires += this.#now;
    for (const direction of ["original", "reply"] as const) {
      const key = keyOf(tupleIn(connection, direction));
      this.#byTuple.set(key, [{ connection, direction }, ...(this.#byTuple.get(key) ?? [])]);
    }
    connection.news.add("new");
    return true;
  }

  /** Listeners are told what is new. */
  tell(connection: Connection): void {
    const { news, confirmed, dying } = connection;
    if (news.size === 0 || !confirmed || dying) return;
    this.#events.push(eventOf(news.has("new") ? "new" : "update", connection));
    news.clear();
  }

  refresh(connection: Connection, seconds: number): void {
    connection.expires = connection.confirmed ? this.#now + seconds : seconds;
  }

  /** nf_ct_acct_update(): the packet is one of the connection's; what is let through without being followed is not. */
  account({ counted }: Connection, direction: Direction, packet: Packet): void {
    counted[direction].packets++;
    counted[direction].bytes += packet.length;
  }

  kill(connection: Connection): void {
    if (connection.dying) return;
    connection.dying = true;
    if (!connection.confirmed) return;
    for (const direction of ["original", "reply"] as const) {
      const key = keyOf(tupleIn(connection, direction));
      const rest = (this.#byTuple.get(key) ?? []).filter((entry) => entry.connection !== connection);
      if (rest.length === 0) this.#byTuple.delete(key);
      else this.#byTuple.set(key, rest);
    }
    this.#forgetSource(connection);
    this.#events.push(eventOf("destroy", connection));
  }

  /** NAT knows the source of a connection from now on. */
  addSource(connection: Connection): void {
    const key = sourceKey(connection.original);
    this.#bySource.set(key, [connection, ...(this.#bySource.get(key) ?? [])]);
  }

  /**
   * Those of the same client socket, newest first. Differs: the kernel finds those whose time is over too, until it clears them
   * away.
   */
  fromSource(tuple: Tuple, zone: Zone): readonly Connection[] {
    const known = this.#bySource.get(sourceKey(tuple)) ?? [];
    return known.filter((one) => zoneIn(one.zone, "original") === zoneIn(zone, "original"));
  }

  #forgetSource(connection: Connection): void {
    const key = sourceKey(connection.original);
    const rest = (this.#bySource.get(key) ?? []).filter((one) => one !== connection);
    if (rest.length === 0) this.#bySource.delete(key);
    else this.#bySource.set(key, rest);
  }

  *#all(): Iterable<Connection> {
    for (const entries of [...this.#byTuple.values()]) {
      for (const { connection, direction } of entries) if (direction === "original") yield connection;
    }
  }
}

function zoneIn({ id, direction }: Zone, asked: Direction): number {
  return direction === "both" || direction === asked ? id : DEFAULT_ZONE.id;
}

function sourceKey({ proto, src, sport }: Tuple): string {
  return `${proto} ${src}:${sport}`;
}

function eventOf(event: ConnectionEvent["event"], connection: Connection): ConnectionEvent {
  const { original, reply, mark, news, zone } = connection;
  const status = {
    SEEN_REPLY: connection.seenReply,
    ASSURED: connection.assured,
    SRC_NAT: connection.sourceNat,
    DST_NAT: connection.destinationNat,
  } as const;
  const tellsState = connection.tcp !== null && (event === "destroy" || news.has("protocol"));
  const names = Object.keys(status) as (keyof typeof status)[];
  return {
    event,
    orig: original,
    reply,
    status: names.filter((name) => status[name]),
    tcpState: tellsState ? TCP_STATE_NAMES[connection.tcp!.state]! : null,
    mark: mark === 0 && !(event !== "destroy" && news.has("mark")) ? null : mark,
    zone: zone.direction === "both" ? zone.id : 0,
  };
}
