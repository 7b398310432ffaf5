// The modules that iptables 1.8.9 knows and we do not model: an error about them can say so.

/** Targets of extensions/; a chain may not bear such a name. */
export const OTHER_TARGETS: ReadonlySet<string> = new Set(
  `AUDIT CHECKSUM CLASSIFY CLUSTERIP CONNMARK CONNSECMARK CT DSCP ECN HMARK IDLETIMER LED NETMAP NFLOG NFQUEUE NOTRACK
  RATEEST SECMARK SET SYNPROXY TCPMSS TCPOPTSTRIP TEE TOS TPROXY TRACE TTL ULOG QUEUE standard`.split(/\s+/),
);

export const OTHER_MATCHES: ReadonlySet<string> = new Set(
  `ah bpf cgroup cluster connbytes connlabel connlimit connmark cpu dccp devgroup dscp ecn esp hashlimit helper ipcomp
  ipvs length mac nfacct osf owner physdev pkttype policy quota rateest realm recent rpfilter sctp set socket string
  tcpmss time tos ttl u32`.split(/\s+/),
);

/** Matches of ip6tables. */
export const IPV6_MATCHES: ReadonlySet<string> = new Set(
  "dst eui64 frag hbh hl icmp6 icmpv6 ipv6-icmp ipv6header mh rt srh".split(" "),
);
