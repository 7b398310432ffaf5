// How long connections live without a packet, in seconds: the defaults of the kernel, and what sysctls make of them.
//
// tcp_timeouts[] in net/netfilter/nf_conntrack_proto_tcp.c and its like; Documentation/networking/nf_conntrack-sysctl.rst.

export interface Timeouts {
  readonly tcp: Readonly<Record<(typeof TCP_TIMEOUTS)[number], number>>;
  readonly udp: number;
  readonly udpStream: number;
  readonly icmp: number;
  readonly gre: number;
  readonly greStream: number;
  readonly generic: number;
  readonly sctp: Readonly<Record<(typeof SCTP_TIMEOUTS)[number], number>>;
}

/** By state; RETRANS where a side repeats itself, UNACK where what it sent is not acknowledged. */
export const TCP_TIMEOUTS = [
  ...["SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE"],
  ...["SYN_SENT2", "RETRANS", "UNACK"],
] as const;

/** By state. */
export const SCTP_TIMEOUTS = [
  ...["CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD"],
  ...["SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT"],
] as const;

const DEFAULTS = {
  tcp: {
    SYN_SENT: 120,
    SYN_RECV: 60,
    ESTABLISHED: 432000,
    FIN_WAIT: 120,
    CLOSE_WAIT: 60,
    LAST_ACK: 30,
    TIME_WAIT: 120,
    CLOSE: 10,
    SYN_SENT2: 120,
    RETRANS: 300,
    UNACK: 300,
  },
  udp: 30,
  udpStream: 120,
  icmp: 30,
  gre: 30,
  greStream: 180,
  generic: 600,
  sctp: {
    CLOSED: 10,
    COOKIE_WAIT: 3,
    COOKIE_ECHOED: 3,
    ESTABLISHED: 210,
    SHUTDOWN_SENT: 3,
    SHUTDOWN_RECD: 3,
    SHUTDOWN_ACK_SENT: 3,
    HEARTBEAT_SENT: 30,
  },
};

const SYSCTLS: Readonly<Record<string, keyof Omit<Timeouts, "tcp" | "sctp"> | keyof Timeouts["tcp"]>> = {
  udp_timeout: "udp",
  udp_timeout_stream: "udpStream",
  icmp_timeout: "icmp",
  gre_timeout: "gre",
  gre_timeout_stream: "greStream",
  generic_timeout: "generic",
  tcp_timeout_syn_sent: "SYN_SENT",
  tcp_timeout_syn_recv: "SYN_RECV",
  tcp_timeout_established: "ESTABLISHED",
  tcp_timeout_fin_wait: "FIN_WAIT",
  tcp_timeout_close_wait: "CLOSE_WAIT",
  tcp_timeout_last_ack: "LAST_ACK",
  tcp_timeout_time_wait: "TIME_WAIT",
  tcp_timeout_close: "CLOSE",
  tcp_timeout_max_retrans: "RETRANS",
  tcp_timeout_unacknowledged: "UNACK",
};

/** Whether this is one of them: `net/netfilter/nf_conntrack_...`. */
export function isTimeout(path: string): boolean {
  return nameOf(path) in SYSCTLS || sctpStateOf(path) !== null;
}

/** @param values seconds by the path of the sysctl */
export function timeoutsOf(values: ReadonlyMap<string, number>): Timeouts {
  const tcp: Record<string, number> = { ...DEFAULTS.tcp };
  const sctp = { ...DEFAULTS.sctp };
  const others: Record<string, number> = {};
  for (const [path, seconds] of values) {
    const state = sctpStateOf(path);
    const key = SYSCTLS[nameOf(path)]!;
    if (state !== null) sctp[state] = seconds;
    else if (key in tcp) tcp[key] = seconds;
    else others[key] = seconds;
  }
  return { ...DEFAULTS, ...others, tcp: tcp as Timeouts["tcp"], sctp };
}

/** `sctp_timeout_shutdown_sent` and its like. */
function sctpStateOf(path: string): keyof Timeouts["sctp"] | null {
  return SCTP_TIMEOUTS.find((state) => nameOf(path) === `sctp_timeout_${state.toLowerCase()}`) ?? null;
}

function nameOf(path: string): string {
  return path.replace(/^net\/netfilter\/nf_conntrack_/, "");
}
