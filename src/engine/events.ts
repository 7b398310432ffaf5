// Event records -> what became of connections.

import type { ConnectionEvent, Tuple } from "../classifier.ts";
import * as layout from "../layout.ts";

const EVENTS = ["new", "update", "destroy", "destroy"] as const;
const TCP = 6;
/** Nobody is told of a zone that holds in one direction alone. */
const ONE_DIRECTION = layout.STATUS_ZONE_ORIGINAL | layout.STATUS_ZONE_REPLY;
/** As `enum tcp_conntrack` names them. */
const TCP_STATES = [
  ...["NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE"],
  "SYN_SENT2",
];
const STATUSES = [
  [layout.STATUS_SEEN_REPLY, "SEEN_REPLY"],
  [layout.STATUS_ASSURED, "ASSURED"],
  [layout.STATUS_SOURCE_NAT, "SRC_NAT"],
  [layout.STATUS_DESTINATION_NAT, "DST_NAT"],
] as const;

/** `count` records at `at`. */
export function readEvents(view: DataView, at: number, count: number): readonly ConnectionEvent[] {
  const events = Array.from({ length: count }, (_, i) => readEvent(view, at + i * layout.EVENT_BYTES));
  let expired = 0;
  const kindOf = (i: number): number => view.getUint32(at + i * layout.EVENT_BYTES + layout.EVENT_KIND, true);
  while (expired < count && kindOf(expired) === layout.EVENT_EXPIRE) expired++;
  if (expired < 2) return events;
  // flows that time out together have no order of their own
  return [...events.slice(0, expired).sort(inOrder), ...events.slice(expired)];
}

function inOrder({ orig: one }: ConnectionEvent, { orig: other }: ConnectionEvent): number {
  return (
    one.proto - other.proto ||
    one.src - other.src ||
    one.dst - other.dst ||
    one.sport - other.sport ||
    one.dport - other.dport
  );
}

function readEvent(view: DataView, at: number): ConnectionEvent {
  const flow = at + layout.EVENT_FLOW;
  const proto = view.getUint8(flow + layout.FLOW_PROTO);
  const bits = view.getUint16(flow + layout.FLOW_STATUS, true);
  const event = EVENTS[view.getUint32(at + layout.EVENT_KIND, true)]!;
  const mark = view.getUint32(at + layout.EVENT_MARK, true);
  const tellsState = proto === TCP && (event === "destroy" || (bits & layout.STATUS_STATE) !== 0);
  return {
    event,
    orig: readTuple(view, flow, proto),
    reply: readTuple(view, flow + layout.FLOW_TUPLE_BYTES, proto),
    status: STATUSES.filter(([bit]) => (bits & bit) !== 0).map(([, name]) => name),
    tcpState: tellsState ? TCP_STATES[view.getUint8(flow + layout.FLOW_TCP_STATE)]! : null,
    mark: mark === 0 && (event === "destroy" || (bits & layout.STATUS_MARKED) === 0) ? null : mark,
    zone: (bits & ONE_DIRECTION) === 0 ? view.getUint16(flow + layout.FLOW_ZONE, true) : 0,
  };
}

function readTuple(view: DataView, at: number, proto: number): Tuple {
  return {
    src: view.getUint32(at + layout.FLOW_TUPLE_SRC, true),
    dst: view.getUint32(at + layout.FLOW_TUPLE_DST, true),
    proto,
    sport: view.getUint16(at + layout.FLOW_TUPLE_PORTS, true),
    dport: view.getUint16(at + layout.FLOW_TUPLE_PORTS + 2, true),
  };
}
