// The sentence for a mistake that old rule files make.

export const OLD_NEGATION =
  "the ! stands in front of the option since iptables 1.4.3: `! -s ADDRESS`, not `-s ! ADDRESS`";

/** Targets of extensions/; a chain may not bear such a name. */
export const OTHER_TARGETS: ReadonlySet<string> = new Set(
  `   CLUSTERIP CONNSECMARK   HMARK IDLETIMER LED  NFQUEUE
  RATEEST SECMARK SET SYNPROXY   TEE  TPROXY  ULOG QUEUE standard`.split(/\s+/),
);

export const OTHER_MATCHES: ReadonlySet<string> = new Set(
  `ah bpf cgroup cluster connlabel cpu dccp    esp hashlimit ipcomp
  ipvs   nfacct osf  physdev  policy quota rateest  recent rpfilter sctp set socket string
   time   u32`.split(/\s+/),
);

/** Matches of ip6tables. */
export const IPV6_MATCHES: ReadonlySet<string> = new Set(
  "dst eui64 frag hbh hl icmp6 icmpv6 ipv6-icmp ipv6header mh rt srh".split(" "),
);
