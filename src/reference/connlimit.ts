// How many connections a network has, as each `-m connlimit` counts them for itself.
//
// connlimit_mt() in net/netfilter/xt_connlimit.c, __nf_conncount_add() in nf_conncount.c, as Linux 6.18 was seen to do it. Lists
// are looked through when they are asked: connections that have gone meanwhile, or of TCP are closed, are left out, but only
// so many in one go; one that is assured is not put into a list that there is already.
//
// Differs: the kernel looks through a list once in 4 ms at the most, and now and then through those that nobody asks for.

import type { Tuple } from "../classifier.ts";
import type { ConnlimitMatch } from "../rules/ruleset.ts";
import { prefixMask } from "../net/address.ts";
import { DEFAULT_ZONE } from "./connection.ts";
import type { Connection, Zone } from "./connection.ts";
import type { Holds, World } from "./match.ts";
import type { MatchPlace } from "./memory.ts";
import type { Skb } from "./skb.ts";
import { TCP_STATE_NAMES } from "./tcp.ts";
import { sameTuple, tupleOf } from "./tuple.ts";

/** By network and zone, in the order in which they came. */
export type CountedConnections = Map<string, { readonly tuple: Tuple; readonly zone: Zone }[]>;

/** So many that have gone are left out at once, and one more. */
const MOST_COLLECTED = 8;

export function meetsConnlimit(match: ConnlimitMatch, place: MatchPlace, skb: Skb, world: World): Holds {
  const { packet, attached } = skb;
  const tuple = attached?.connection.original ?? tupleOf(packet);
  if (tuple === null) return "drop";
  const zone = attached?.connection.zone ?? DEFAULT_ZONE;
  const address = match.of === "saddr" ? packet.src : packet.dst;
  const key = `${(address & prefixMask(match.prefixLength)) >>> 0} ${zone.id}`;
  const lists = world.memory.counted(place);
  const list = lists.get(key) ?? [];
  const assured = attached?.connection.assured === true && list.length > 0;
  const kept = refreshed(list, assured ? null : tuple, zone, world);
  lists.set(key, kept);
  return kept.length > match.limit === match.above;
}

type Counted = NonNullable<ReturnType<CountedConnections["get"]>>;

/** @param tuple put at the end, or found: then nothing behind it is looked at; null: none is */
function refreshed(list: Counted, tuple: Tuple | null, zone: Zone, world: World): Counted {
  const kept: Counted = [];
  let collected = 0;
  for (const [index, one] of list.entries()) {
    if (collected > MOST_COLLECTED) {
      kept.push(...list.slice(index));
      break;
    }
    const found = world.connection(one.tuple, one.zone);
    const isOwn = found !== null && tuple !== null && sameTuple(one.tuple, tuple) && found.zone.id === zone.id;
    if (isOwn) return [...kept, ...list.slice(index)];
    if (found === null || isClosed(found)) collected++;
    else kept.push(one);
  }
  return tuple === null ? kept : [...kept, { tuple, zone }];
}

function isClosed({ tcp }: Connection): boolean {
  return tcp !== null && ["TIME_WAIT", "CLOSE"].includes(TCP_STATE_NAMES[tcp.state]!);
}
