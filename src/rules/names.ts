// The sentence for a mistake that old rule files make.

export const OLD_NEGATION =
  "the ! stands in front of the option since iptables 1.4.3: `! -s ADDRESS`, not `-s ! ADDRESS`";

/** Targets of extensions/; a chain may not bear such a name. */
export const OTHER_TARGETS: ReadonlySet<string> = new Set(
  `AUDIT CHECKSUM CLASSIFY CLUSTERIP CONNSECMARK DSCP ECN HMARK IDLETIMER LED NFLOG NFQUEUE
  RATEEST SECMARK SET SYNPROXY TCPMSS TCPOPTSTRIP TEE TOS TPROXY TTL ULOG QUEUE standard`.split(/\s+/),
);

export const OTHER_MATCHES: ReadonlySet<string> = new Set(
  `ah bpf cgroup cluster connlabel cpu dccp devgroup dscp ecn esp hashlimit ipcomp
  ipvs length mac nfacct osf owner physdev pkttype policy quota rateest realm recent rpfilter sctp set socket string
  tcpmss time tos ttl u32`.split(/\s+/),
);

/** Matches of ip6tables. */
export const IPV6_MATCHES: ReadonlySet<string> = new Set(
  "dst eui64 frag hbh hl icmp6 icmpv6 ipv6-icmp ipv6header mh rt srh".split(" "),
);
