// What targets that go on change of a packet and of what is kept beside it.
//
// The target functions of net/netfilter/xt_mark.c, xt_DSCP.c (TOS too), xt_HL.c, xt_TCPMSS.c, xt_TCPOPTSTRIP.c and
// net/ipv4/netfilter/ipt_ECN.c.

import { TCP_FLAGS } from "../packet/packet.ts";
import { clamped, stripped, tcpHeaderBytes, withFlags } from "../packet/tcp.ts";
import type { ModelledTarget } from "../rules/modelled.ts";
import type { EcnTarget, Rule, TcpmssTarget, TtlTarget } from "../rules/ruleset.ts";
import { setConnmark, setTemplate } from "./connmatch.ts";
import { setHashMark } from "./hmark.ts";
import type { World } from "./match.ts";
import type { Skb } from "./skb.ts";

/** Targets that do not end a chain, and do not lead to another one. */
export type PassingTarget = Exclude<
  ModelledTarget,
  | { readonly kind: "ACCEPT" | "DROP" | "RETURN" | "jump" | "goto" | "REJECT" }
  | { readonly kind: "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT" | "NETMAP" }
  | { readonly kind: "TPROXY" | "QUEUE" | "NFQUEUE" }
>;

const ECT_MASK = 3;
const TCP_BYTES = 20;
const TCP_AND_IP_BYTES = 40;
/** As if there were no limit: what the kernel takes where there is no route. */
const NO_MTU = 0xffff_ffff;

/** "drop": the target drops the packet. */
export function change(target: PassingTarget, rule: Rule, skb: Skb, world: World): "drop" | "go on" {
  const { packet } = skb;
  const setTos = (tos: number): void => {
    skb.packet = { ...packet, tos };
  };
  switch (target.kind) {
    case "LOG":
    case "NFLOG":
    case "TRACE":
    case "CHECKSUM":
    case "CLASSIFY":
    case "AUDIT":
    case "CONNSECMARK":
    case "IDLETIMER":
    case "LED":
    case "RATEEST":
    case "SECMARK":
    case "ULOG":
      return "go on";
    case "MARK":
      skb.mark = ((skb.mark & ~target.mask) ^ target.value) >>> 0;
      return "go on";
    case "TOS":
      setTos(((packet.tos & ~target.mask) ^ target.value) & 0xff);
      return "go on";
    case "DSCP":
      setTos((packet.tos & ECT_MASK) | (target.dscp << 2));
      return "go on";
    case "TTL":
      skb.packet = { ...packet, ttl: ttlAfter(target, packet.ttl) };
      return "go on";
    case "ECN":
      return ecn(target, skb);
    case "TCPMSS":
      return tcpmss(target, skb, world);
    case "TCPOPTSTRIP": {
      const after = stripped(packet, target.options);
      if (after === "drop") return "drop";
      skb.writable = Math.max(skb.writable ?? 0, tcpHeaderBytes(packet));
      skb.packet = after;
      return "go on";
    }
    case "SET":
      world.memory.sets.change(target, skb);
      return "go on";
    case "HMARK":
      setHashMark(target, skb);
      return "go on";
    case "CONNMARK":
      setConnmark(target, skb);
      return "go on";
    case "CT":
    case "NOTRACK":
      setTemplate(target, rule, skb, world.memory);
      return "go on";
  }
}

function ttlAfter({ op, ttl }: TtlTarget, before: number): number {
  switch (op) {
    case "set":
      return ttl;
    case "inc":
      return Math.min(255, before + ttl);
    case "dec":
      return Math.max(0, before - ttl);
  }
}

/** set_ect_ip() and set_ect_tcp(). */
function ecn({ ect, ece, cwr }: EcnTarget, skb: Skb): "drop" | "go on" {
  if (ect !== null) skb.packet = { ...skb.packet, tos: (skb.packet.tos & ~ECT_MASK) | ect };
  if (ece === null && cwr === null) return "go on";
  const { packet } = skb;
  if (packet.fragmentOffset > 0 || packet.length - packet.headerLength < 20) return "drop";
  let flags = packet.tcpFlags;
  if (ece !== null) flags = (flags & ~TCP_FLAGS.ECE) | (ece * TCP_FLAGS.ECE);
  if (cwr !== null) flags = (flags & ~TCP_FLAGS.CWR) | (cwr * TCP_FLAGS.CWR);
  if (flags === packet.tcpFlags) return "go on";
  skb.writable = Math.max(skb.writable ?? 0, TCP_BYTES);
  skb.packet = withFlags(packet, flags);
  return "go on";
}

/** tcpmss_tg4(). */
function tcpmss({ mss }: TcpmssTarget, skb: Skb, world: World): "drop" | "go on" {
  const { packet } = skb;
  if (packet.fragmentOffset === 0) skb.writable = Infinity;
  let wanted = mss;
  if (wanted === "pmtu") {
    if (clamped(packet, 0xffff) === "drop") return "drop";
    if (packet.fragmentOffset > 0) return "go on";
    const mtu = Math.min(skb.routeMtu ?? NO_MTU, world.mtuTo(packet.src) ?? NO_MTU);
    if (mtu <= TCP_AND_IP_BYTES) return "drop";
    wanted = (mtu - TCP_AND_IP_BYTES) & 0xffff;
  }
  const after = clamped(packet, wanted);
  if (after === "drop") return "drop";
  skb.packet = after;
  return "go on";
}
