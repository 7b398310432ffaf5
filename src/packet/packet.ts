// What a rule can see of a packet: header fields as on the wire, in host byte order.

/** TCP flag bits as in byte 13 of the header. */
export const TCP_FLAGS = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32, ECE: 64, CWR: 128 } as const;

export interface Packet {
  readonly src: number;
  readonly dst: number;
  /** IANA protocol number: 6 is TCP. */
  readonly proto: number;
  /** 0 unless `proto` is TCP, UDP, UDP-Lite, SCTP or DCCP and the ports are in this packet. */
  readonly sport: number;
  readonly dport: number;
  /** Bits of TCP_FLAGS; 0 unless TCP. */
  readonly tcpFlags: number;
  /** 0 unless ICMP. */
  readonly icmpType: number;
  readonly icmpCode: number;
  /** Of ICMP queries and their answers (types 0, 8, 13 to 18); 0 for everything else. */
  readonly icmpId: number;
  readonly icmpSeq: number;
  readonly ttl: number;
  readonly tos: number;
  /** Total IP length in bytes. */
  readonly length: number;
  /** Bytes of the IP header: 20 without options. */
  readonly headerLength: number;
  /** Loose or strict source routing stands among the IP options. */
  readonly sourceRouted: boolean;
  readonly ipId: number;
  readonly df: boolean;
  readonly moreFragments: boolean;
  /** In units of 8 bytes, as in the header. */
  readonly fragmentOffset: number;
  /**
   * The checksum over everything after the IP header is wrong as nf_ip_checksum() sees it: with the pseudo header for
   * TCP and UDP, without for ICMP and protocols that the kernel does not know. Never true for GRE, ESP, AH, SCTP, UDP-Lite,
   * and UDP without a checksum. Conntrack asks it of TCP, UDP and ICMP, REJECT of all protocols.
   */
  readonly badChecksum: boolean;
  /** TCP sequence and acknowledgement number, window; 0 unless TCP. */
  readonly seq: number;
  readonly ack: number;
  readonly window: number;
  /** The packet that an ICMP error quotes; null otherwise. */
  readonly inner: Packet | null;
  /** The kernel chose its IP id, and nobody knows it: that of an ICMP error. */
  readonly idUnknown?: true;
  /** It was put together from fragments, and its bytes lie in several places. */
  readonly scattered?: true;
  /** Everything after the IP header; null where the input does not tell it (synthetic traffic). */
  readonly payload: Uint8Array | null;
}

/** A packet and how it comes to the host. */
export interface Arrival {
  /** What the packet line calls it; repeated in the answer. */
  readonly id: string | number;
  /** null: sent by the host itself. */
  readonly inIface: string | null;
  readonly packet: Packet;
  /**
   * A local packet without `src`: the kernel chooses, and then the checksum of TCP and UDP is wrong, since it was made
   * for 0.0.0.0 (raw_send_hdrinc() in net/ipv4/raw.c).
   */
  readonly chooseSource: boolean;
  /** The frame's destination: the interface's own address, or a group or broadcast address, or another host's. */
  readonly frame: "host" | "broadcast" | "multicast" | "otherhost";
  /** The frame's source address, 6 bytes as a number; null for local packets. */
  readonly srcMac: number | null;
  /** skb mark on entry: 0 but for local packets of a marked socket. */
  readonly mark: number;
  readonly uid: number;
  readonly gid: number;
  /** Local packets of a socket bound to an interface. */
  readonly boundIface: string | null;
  /** Seconds on the packets' clock when it arrives. */
  readonly time: number;
  /** Present only for synthetic packets: the state of the connection is told, not found out; only NEW meets nat. */
  readonly ctState?: "INVALID" | "NEW" | "RELATED" | "ESTABLISHED" | "UNTRACKED";
}
