// The parsed form of a rule set: what iptables-restore would load, with the place of every rule kept.
//
// A rule is a header test (struct ipt_ip in the kernel: addresses, interfaces, protocol, fragment) followed by
// match modules in the order written, then a target. Evaluation order is that order: see ipt_do_table() in
// net/ipv4/netfilter/ip_tables.c.

import type { Range } from "../net/range.ts";

export type { Range };

/** IPv4 or IPv6. */
export type Family = 4 | 6;

export type TableName = "raw" | "mangle" | "nat" | "filter" | "security";

export type Hook = "PREROUTING" | "INPUT" | "FORWARD" | "OUTPUT" | "POSTROUTING";

/** Tables in the order the kernel visits them in a hook (nat of INPUT excepted: it comes last). */
export const TABLES: readonly TableName[] = ["raw", "mangle", "nat", "filter", "security"];

/** The built-in chains of each table. */
export const BUILTIN_CHAINS: Readonly<Record<TableName, readonly Hook[]>> = {
  raw: ["PREROUTING", "OUTPUT"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  filter: ["INPUT", "FORWARD", "OUTPUT"],
  security: ["INPUT", "FORWARD", "OUTPUT"],
};

/** Where something stands in a rule file. Lines and columns count from 1. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface Ruleset {
  /** Rules of IPv6 are parsed and printed; they are not run yet. */
  readonly family: Family;
  /** Each table at most once, in the order of the input. */
  readonly tables: readonly Table[];
  /** What the user should be told: leniences used, sections of other commands left out. */
  readonly notes: readonly string[];
  /** Those loaded beside the rules; left out: none. */
  readonly sets?: readonly IpSet[];
}

/** All rules, in the order of tables and chains. */
export function rulesOf({ tables }: Pick<Ruleset, "tables">): readonly Rule[] {
  const all: Rule[] = [];
  for (const { chains } of tables) for (const { rules } of chains) for (const rule of rules) all.push(rule);
  return all;
}

export interface Table {
  readonly name: TableName;
  /** Built-in chains first, in the kernel's order and all of them, then user chains by name, as libiptc keeps them. */
  readonly chains: readonly Chain[];
  readonly position: Position;
}

export interface Counters {
  readonly packets: bigint;
  readonly bytes: bigint;
}

export interface Chain {
  readonly name: string;
  /** null for a user chain. */
  readonly policy: "ACCEPT" | "DROP" | null;
  /** null where the input gives none. */
  readonly counters: Counters | null;
  readonly rules: readonly Rule[];
}

export interface Rule {
  readonly header: Header;
  readonly matches: readonly Match[];
  /** null: the rule counts packets and goes on. */
  readonly target: Target | null;
  readonly counters: Counters | null;
  readonly position: Position;
  /** The line as written. */
  readonly text: string;
}

export interface Header {
  readonly src: AddressTest | null;
  readonly dst: AddressTest | null;
  readonly inIface: InterfaceTest | null;
  readonly outIface: InterfaceTest | null;
  /** The addresses of an IPv6 rule, for which `src` and `dst` are null; null if it asks none. */
  readonly v6: { readonly src: Address6Test | null; readonly dst: Address6Test | null } | null;
  /** null: any protocol (`-p all` parses to null). */
  readonly proto: { readonly proto: number; readonly negated: boolean } | null;
  /** `-f`: second and later fragments. */
  readonly fragment: { readonly negated: boolean } | null;
}

export interface AddressTest {
  /** Host byte order; already masked. */
  readonly address: number;
  /** Need not be contiguous. */
  readonly mask: number;
  readonly negated: boolean;
}

export interface Address6Test {
  readonly address: bigint;
  readonly mask: bigint;
  readonly negated: boolean;
}

export interface InterfaceTest {
  /** Without the `+`; may be empty for `+` alone. */
  readonly name: string;
  /** Written with a trailing `+`: every name that begins with `name`. */
  readonly wildcard: boolean;
  readonly negated: boolean;
}

/** value & mask, or what is asked of them: see where it is used. */
export interface MaskedValue {
  readonly value: number;
  readonly mask: number;
}

export interface NegatableRange extends Range {
  readonly negated: boolean;
}

export const CT_STATES = ["INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT"] as const;
export type CtStateName = (typeof CT_STATES)[number];

/** The bits of a connection's status that rules may ask. */
export const CT_STATUSES = ["EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED"] as const;
export type CtStatusName = (typeof CT_STATUSES)[number];

/** In the order in which iptables prints them (RTN_ types of the kernel). */
export const ADDRESS_TYPES = [
  "UNSPEC",
  "UNICAST",
  "LOCAL",
  "BROADCAST",
  "ANYCAST",
  "MULTICAST",
  "BLACKHOLE",
  "UNREACHABLE",
  "PROHIBIT",
  "THROW",
  "NAT",
  "XRESOLVE",
] as const;
export type AddressType = (typeof ADDRESS_TYPES)[number];

/** One `-m` module with its options. A module named twice in a rule stands here twice: both must hold. */
export type Match =
  | TcpMatch
  | UdpMatch
  | IcmpMatch
  | ConntrackMatch
  | StateMatch
  | AddrtypeMatch
  | MarkMatch
  | MultiportMatch
  | CommentMatch
  | IprangeMatch
  | LimitMatch
  | StatisticMatch
  | ConnmarkMatch
  | ConnbytesMatch
  | ConnlimitMatch
  | LengthMatch
  | TtlMatch
  | TosMatch
  | DscpMatch
  | EcnMatch
  | TcpmssMatch
  | PkttypeMatch
  | MacMatch
  | OwnerMatch
  | RealmMatch
  | DevgroupMatch
  | RecentMatch
  | QuotaMatch
  | TimeMatch
  | PhysdevMatch
  | RpfilterMatch
  | HashlimitMatch
  | SctpMatch
  | DccpMatch
  | SpiMatch
  | StringMatch
  | U32Match
  | BpfMatch
  | ClusterMatch
  | PolicyMatch
  | SocketMatch
  | SetMatch
  | AssumedMatch
  | OpaqueMatch;

/** Of modules with many options: as iptables-save prints them, with a blank before each. */
interface Printed {
  readonly options: string;
}

export interface TcpMatch {
  readonly kind: "tcp";
  /** null: not asked (0:65535 without `!` counts as asked only when printed by iptables-save). */
  readonly sport: NegatableRange | null;
  readonly dport: NegatableRange | null;
  /** Bits as in the header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32. Holds if (flags & mask) == comp. */
  readonly flags: { readonly mask: number; readonly comp: number; readonly negated: boolean } | null;
  /** `--tcp-option`: an option of this kind, 1 to 255, stands in the header. */
  readonly option: { readonly kind: number; readonly negated: boolean } | null;
}

export interface UdpMatch {
  readonly kind: "udp";
  readonly sport: NegatableRange | null;
  readonly dport: NegatableRange | null;
}

export interface IcmpMatch {
  readonly kind: "icmp";
  /** 255: any type and code, as in the kernel. */
  readonly type: number;
  readonly code: Range;
  readonly negated: boolean;
}

/** All that is asked must hold; null: not asked. Addresses and ports are the connection's, not the packet's. */
export interface ConntrackMatch {
  readonly kind: "conntrack";
  readonly state: { readonly states: readonly CtStateName[]; readonly negated: boolean } | null;
  readonly proto: { readonly proto: number; readonly negated: boolean } | null;
  readonly origSrc: ConntrackAddress | null;
  readonly origDst: ConntrackAddress | null;
  readonly replSrc: ConntrackAddress | null;
  readonly replDst: ConntrackAddress | null;
  readonly origSrcPort: NegatableRange | null;
  readonly origDstPort: NegatableRange | null;
  readonly replSrcPort: NegatableRange | null;
  readonly replDstPort: NegatableRange | null;
  /** Holds if any of the bits is set; none, for NONE: if no bit is set. */
  readonly status: { readonly statuses: readonly CtStatusName[]; readonly negated: boolean } | null;
  /** Seconds until the connection times out. */
  readonly expire: NegatableRange | null;
  readonly dir: "ORIGINAL" | "REPLY" | null;
}

export interface ConntrackAddress extends AddressTest {
  /** As written, before the mask. */
  readonly written: number;
}

/** The old name of `conntrack --ctstate`. */
export interface StateMatch {
  readonly kind: "state";
  readonly states: readonly CtStateName[];
  readonly negated: boolean;
}

export interface AddrtypeMatch {
  readonly kind: "addrtype";
  readonly srcTypes: { readonly types: readonly AddressType[]; readonly negated: boolean } | null;
  readonly dstTypes: { readonly types: readonly AddressType[]; readonly negated: boolean } | null;
  readonly limitIface: "in" | "out" | null;
}

export interface MarkMatch {
  readonly kind: "mark";
  /** Holds if (mark & mask) == value. */
  readonly value: number;
  readonly mask: number;
  readonly negated: boolean;
}

export interface MultiportMatch {
  readonly kind: "multiport";
  /** `ports`: the source or the destination port is in the list. */
  readonly which: "sports" | "dports" | "ports";
  /** In the order written; may overlap. */
  readonly ports: readonly Range[];
  readonly negated: boolean;
}

export interface CommentMatch {
  readonly kind: "comment";
  readonly comment: string;
}

export interface IprangeMatch {
  readonly kind: "iprange";
  readonly src: NegatableRange | null;
  readonly dst: NegatableRange | null;
}

export interface LimitMatch {
  readonly kind: "limit";
  /** Time between two tokens in units of 1/10,000 s, as iptables rounds it (XT_LIMIT_SCALE 10000). */
  readonly average: number;
  readonly burst: number;
}

export type StatisticMatch =
  | {
      readonly kind: "statistic";
      readonly mode: "random";
      /** Holds with probability `probability` / 2^31; rounded as iptables does. */
      readonly probability: number;
      readonly negated: boolean;
    }
  | {
      readonly kind: "statistic";
      readonly mode: "nth";
      /** Of every `every` evaluations the one with index `packet`, from 0, holds. */
      readonly every: number;
      readonly packet: number;
      readonly negated: boolean;
    };

/** (the connection's mark & mask) == value. */
export interface ConnmarkMatch extends MaskedValue {
  readonly kind: "connmark";
  readonly negated: boolean;
}

/** What the connection has carried so far lies in lo..hi. */
export interface ConnbytesMatch {
  readonly kind: "connbytes";
  readonly lo: bigint;
  /** CONNBYTES_END: no end. */
  readonly hi: bigint;
  /** Never of a single number: iptables exchanges the ends, which of equal ones cannot be told. */
  readonly negated: boolean;
  readonly mode: "packets" | "bytes" | "avgpkt";
  readonly dir: "original" | "reply" | "both";
}

export const CONNBYTES_END = 0xffff_ffff_ffff_ffffn;

/** Connections of the packet's network, this one among them. */
export interface ConnlimitMatch {
  readonly kind: "connlimit";
  readonly limit: number;
  /** More than `limit`; else at most `limit`. */
  readonly above: boolean;
  /** Prefix length of the network. */
  readonly prefixLength: number;
  /** Whose network. */
  readonly of: "saddr" | "daddr";
}

/** Total length of the IP packet. */
export interface LengthMatch extends NegatableRange {
  readonly kind: "length";
}

export interface TtlMatch {
  readonly kind: "ttl";
  readonly op: "eq" | "lt" | "gt";
  readonly ttl: number;
  readonly negated: boolean;
}

/** (tos & mask) == value. */
export interface TosMatch extends MaskedValue {
  readonly kind: "tos";
  readonly negated: boolean;
}

/** The upper six bits of the type of service. */
export interface DscpMatch {
  readonly kind: "dscp";
  readonly dscp: number;
  readonly negated: boolean;
}

export interface EcnMatch {
  readonly kind: "ecn";
  /** Flags of TCP. */
  readonly cwr: { readonly negated: boolean } | null;
  readonly ece: { readonly negated: boolean } | null;
  /** The lower two bits of the type of service. */
  readonly ect: { readonly ect: number; readonly negated: boolean } | null;
}

/** The MSS option of a TCP header; where there is none it does not hold, and negated it does. */
export interface TcpmssMatch extends NegatableRange {
  readonly kind: "tcpmss";
}

export interface PkttypeMatch {
  readonly kind: "pkttype";
  readonly type: "unicast" | "broadcast" | "multicast" | "otherhost";
  readonly negated: boolean;
}

/** Source address of the Ethernet frame, 6 bytes. */
export interface MacMatch {
  readonly kind: "mac";
  readonly mac: number;
  readonly negated: boolean;
}

/** Who owns the socket that sent it. */
export interface OwnerMatch {
  readonly kind: "owner";
  readonly socketExists: { readonly negated: boolean } | null;
  readonly uid: NegatableRange | null;
  readonly gid: NegatableRange | null;
  /** `gid` may also be among the other groups of the process. */
  readonly supplGroups: boolean;
}

/** (the route's realm & mask) == value. */
export interface RealmMatch extends MaskedValue {
  readonly kind: "realm";
  readonly negated: boolean;
}

/** (the interface's group & mask) == value. */
export interface DevgroupMatch {
  readonly kind: "devgroup";
  readonly src: (MaskedValue & { readonly negated: boolean }) | null;
  readonly dst: (MaskedValue & { readonly negated: boolean }) | null;
}

/** A list of addresses and of when they were seen, by name. */
export interface RecentMatch {
  readonly kind: "recent";
  readonly op: "set" | "rcheck" | "update" | "remove";
  readonly negated: boolean;
  /** Only what was seen in so many seconds counts; 0: everything. */
  readonly seconds: number;
  /** Forgets what is older than that. */
  readonly reap: boolean;
  /** Seen so often at least; 0: once. */
  readonly hitcount: number;
  /** The TTL must be that of the packet that made the entry. */
  readonly rttl: boolean;
  readonly name: string;
  /** Bits of the address that make an entry. */
  readonly mask: number;
  readonly side: "src" | "dst";
}

/** Holds while so many bytes have not passed it. */
export interface QuotaMatch {
  readonly kind: "quota";
  readonly quota: bigint;
  readonly negated: boolean;
}

/** Seconds since 1970, and since midnight; bit n of the days is day n, Monday is 1. */
export interface TimeMatch {
  readonly kind: "time";
  readonly dateStart: number;
  readonly dateStop: number;
  readonly dayStart: number;
  readonly dayStop: number;
  readonly monthdays: number;
  readonly weekdays: number;
  /** By the kernel's time zone, else UTC. */
  readonly localZone: boolean;
  readonly contiguous: boolean;
}

export const LAST_DATE = 0x7fffffff;
export const LAST_DAYTIME = 86399;
export const ALL_MONTHDAYS = 0xfffffffe;
export const ALL_WEEKDAYS = 0xfe;

/** Ports of a bridge, which a packet here has none of. */
export interface PhysdevMatch {
  readonly kind: "physdev";
  readonly in: InterfaceTest | null;
  readonly out: InterfaceTest | null;
  readonly isIn: { readonly negated: boolean } | null;
  readonly isOut: { readonly negated: boolean } | null;
  readonly isBridged: { readonly negated: boolean } | null;
}

/** The route back to the source leads out by the interface that it came in by. */
export interface RpfilterMatch {
  readonly kind: "rpfilter";
  /** Any interface will do. */
  readonly loose: boolean;
  /** Asks with the packet's mark. */
  readonly validMark: boolean;
  /** An address of the host may be a source. */
  readonly acceptLocal: boolean;
  readonly invert: boolean;
}

/** A bucket, or a window of time, for each combination of addresses and ports. Rules of one name share the first one's. */
export interface HashlimitMatch extends Printed {
  readonly kind: "hashlimit";
  readonly name: string;
  /** More than the rate; else at most that. */
  readonly above: boolean;
  readonly by: readonly ("srcip" | "srcport" | "dstip" | "dstport")[];
  /** Prefix lengths. */
  readonly srcMask: number;
  readonly dstMask: number;
  /** Bytes are counted, not packets. */
  readonly bytes: boolean;
  /** `--hashlimit-rate-match`: what came in an interval is compared; else tokens are taken. */
  readonly rateMatch: boolean;
  /** struct hashlimit_cfg3: millionths of a second between two packets, or 2^32 by 16 bytes a second. */
  readonly average: number;
  /** Packets; of bytes how often a bucket is filled anew. */
  readonly burst: number;
  /** Seconds. */
  readonly interval: number;
  /** Buckets of the hash table; entries that it may hold. 0: as the kernel chooses. */
  readonly size: number;
  readonly max: number;
  /** Milliseconds after which an entry that is not asked for may go, and between two looks for such. */
  readonly expire: number;
  readonly gcInterval: number;
}

export interface SctpMatch extends Printed {
  readonly kind: "sctp";
  readonly sport: NegatableRange | null;
  readonly dport: NegatableRange | null;
  readonly chunks: SctpChunks | null;
}

export interface SctpChunks {
  readonly which: "any" | "all" | "only";
  /** By type: (the chunk's flags & mask) == flags. */
  readonly types: readonly { readonly type: number; readonly mask: number; readonly flags: number }[];
  readonly negated: boolean;
}

export interface DccpMatch extends Printed {
  readonly kind: "dccp";
  readonly sport: NegatableRange | null;
  readonly dport: NegatableRange | null;
  /** Bit n is type n. */
  readonly types: { readonly mask: number; readonly negated: boolean } | null;
  readonly option: { readonly option: number; readonly negated: boolean } | null;
}

/** The index of security parameters; of ipcomp that of compression. */
export interface SpiMatch extends Printed {
  readonly kind: "esp" | "ah" | "ipcomp";
  readonly spi: NegatableRange | null;
}

/** Bytes that stand in the packet, from its IP header on. */
export interface StringMatch extends Printed {
  readonly kind: "string";
  readonly pattern: readonly number[];
  readonly algorithm: "bm" | "kmp" | "fsm";
  /** Offsets: where it begins at the earliest, ends at the latest. */
  readonly from: number;
  readonly to: number;
  readonly anyCase: boolean;
  readonly negated: boolean;
}

/** Of words of the packet, counted from its IP header on, all that is asked must hold. */
export interface U32Match extends Printed {
  readonly kind: "u32";
  readonly tests: readonly U32Test[];
  readonly negated: boolean;
}

export interface U32Test {
  readonly start: number;
  /** From left to right. `@`: the word so many bytes behind the value so far. */
  readonly steps: readonly { readonly op: "&" | "<<" | ">>" | "@"; readonly number: number }[];
  /** One of them has the value. */
  readonly ranges: readonly Range[];
}

/** A classic BPF program over the packet from its IP header on; it holds unless that gives 0. */
export interface BpfMatch extends Printed {
  readonly kind: "bpf";
  readonly program: readonly BpfInstruction[];
}

export interface BpfInstruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/** The connection belongs to one of these nodes. */
export interface ClusterMatch extends Printed {
  readonly kind: "cluster";
  readonly nodes: number;
  /** Bit n is node n. */
  readonly mask: number;
  readonly seed: number;
  readonly negated: boolean;
}

/** IPsec, of which a host here knows nothing: `none` holds, all else does not. */
export interface PolicyMatch extends Printed {
  readonly kind: "policy";
  readonly dir: "in" | "out";
  readonly none: boolean;
}

/** A socket of the host that the packet would come to; here no process has one open. */
export interface SocketMatch extends Printed {
  readonly kind: "socket";
}

export type SetSide = "src" | "dst";

/** A set that a rule names, and whose address, port or interface of the packet each part of an element is. */
export interface SetRef {
  readonly name: string;
  readonly sides: readonly SetSide[];
}

export interface SetMatch extends SetRef {
  readonly kind: "set";
  readonly negated: boolean;
  /** Only elements that are marked `nomatch` hold. */
  readonly returnNomatch: boolean;
  readonly updateCounters: boolean;
  readonly updateSubcounters: boolean;
  /** What the element must have counted. */
  readonly packets: SetCount | null;
  readonly bytes: SetCount | null;
}

export interface SetCount {
  readonly op: "eq" | "lt" | "gt";
  readonly value: bigint;
  readonly negated: boolean;
}

/** The parts of an element, in the order of a rule's sides; `ip2` and `net2` are second addresses. */
export type SetPart = "ip" | "net" | "port" | "ip2" | "net2" | "mark" | "mac" | "iface" | "set";

export const SET_TYPES = {
  "bitmap:ip": ["ip"],
  "bitmap:ip,mac": ["ip", "mac"],
  "bitmap:port": ["port"],
  "hash:ip": ["ip"],
  "hash:mac": ["mac"],
  "hash:ip,mac": ["ip", "mac"],
  "hash:ip,mark": ["ip", "mark"],
  "hash:ip,port": ["ip", "port"],
  "hash:ip,port,ip": ["ip", "port", "ip2"],
  "hash:ip,port,net": ["ip", "port", "net2"],
  "hash:net": ["net"],
  "hash:net,net": ["net", "net2"],
  "hash:net,port": ["net", "port"],
  "hash:net,port,net": ["net", "port", "net2"],
  "hash:net,iface": ["net", "iface"],
  "list:set": ["set"],
} as const satisfies Readonly<Record<string, readonly SetPart[]>>;
export type SetType = keyof typeof SET_TYPES;

export interface IpSet {
  readonly name: string;
  readonly type: SetType;
  /** Sets of IPv6 hold for no packet; their elements are not kept. */
  readonly family: Family;
  /** Of the first address, all ones if there is none. */
  readonly netmask: number;
  readonly markmask: number;
  /** Seconds that an element stays unless it says otherwise, 0: for ever; null: the set knows no timeouts. */
  readonly timeout: number | null;
  /** Of a bitmap. */
  readonly range: Range | null;
  /** Elements that it takes. */
  readonly most: number;
  readonly counters: boolean;
  /** Makes room for a new element where it is full. */
  readonly forceadd: boolean;
  /** Single ones, in the order of the file. */
  readonly elements: readonly SetElement[];
}

/** What is not asked is 0, and a MAC address -1. */
export interface SetElement {
  /** Masked. */
  readonly ip: number;
  readonly cidr: number;
  readonly port: number;
  readonly proto: number;
  readonly ip2: number;
  readonly cidr2: number;
  readonly mark: number;
  readonly mac: number;
  readonly iface: string;
  /** `iface` is the beginning of a name. */
  readonly wildcard: boolean;
  /** Of a list: the name of a set. */
  readonly member: string;
  readonly nomatch: boolean;
  /** Seconds from the start of the packets' clock on; 0 and null: for ever. */
  readonly timeout: number | null;
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly skbmark: MaskedValue | null;
}

/** Adds to a set, deletes from it, or takes the mark from its element. */
export interface SetTarget {
  readonly kind: "SET";
  readonly add: SetRef | null;
  readonly del: SetRef | null;
  readonly map: SetRef | null;
  /** An element that is there already gets the timeout anew. */
  readonly exist: boolean;
  /** Seconds; null: that of the set. */
  readonly timeout: number | null;
  readonly mapMark: boolean;
  readonly mapPrio: boolean;
  readonly mapQueue: boolean;
}

/** A match that the user has decided (assume.ts); it is printed as what it stands for. */
export interface AssumedMatch {
  readonly kind: "assumed";
  readonly holds: boolean;
  readonly of: Match;
}

/** A module that is parsed, checked and printed, and not modelled. */
export interface OpaqueMatch {
  readonly kind: "opaque";
  readonly name: string;
  /** As iptables-save prints them, with a blank before each. */
  readonly options: string;
}

export const REJECT_KINDS = [
  "icmp-net-unreachable",
  "icmp-host-unreachable",
  "icmp-proto-unreachable",
  "icmp-port-unreachable",
  "icmp-net-prohibited",
  "icmp-host-prohibited",
  "icmp-admin-prohibited",
  "tcp-reset",
] as const;
export type RejectKind = (typeof REJECT_KINDS)[number];

export type Target =
  | { readonly kind: "ACCEPT" }
  | { readonly kind: "DROP" }
  | { readonly kind: "RETURN" }
  | { readonly kind: "jump"; readonly chain: string }
  | { readonly kind: "goto"; readonly chain: string }
  | RejectTarget
  | LogTarget
  | NflogTarget
  | { readonly kind: "TRACE" }
  | MarkTarget
  | TosTarget
  | DscpTarget
  | TtlTarget
  | EcnTarget
  | TcpmssTarget
  | TcpoptstripTarget
  | { readonly kind: "CHECKSUM" }
  | { readonly kind: "CLASSIFY"; readonly priority: number }
  | { readonly kind: "DNAT"; readonly range: NatRange }
  | { readonly kind: "SNAT"; readonly range: NatRange }
  | { readonly kind: "MASQUERADE"; readonly range: NatRange }
  | { readonly kind: "REDIRECT"; readonly range: NatRange }
  | NetmapTarget
  | SetTarget
  | ConnmarkTarget
  | CtTarget
  | { readonly kind: "NOTRACK" }
  | WatcherTarget
  | HmarkTarget
  | TproxyTarget
  | QueueTarget
  | OpaqueTarget;

/** Tells somebody of the packet, or notes something nobody here asks for, and lets it go on. */
export interface WatcherTarget extends Printed {
  readonly kind: "AUDIT" | "CONNSECMARK" | "IDLETIMER" | "LED" | "RATEEST" | "SECMARK" | "ULOG";
}

/** mark = hash of what is asked, modulo `modulus`, + `offset`. */
export interface HmarkTarget extends Printed {
  readonly kind: "HMARK";
  /** The connection's addresses and ports, not the packet's. */
  readonly ct: boolean;
  readonly srcMask: number;
  readonly dstMask: number;
  /** (ports & mask) | set; the source port in the upper half. */
  readonly portMask: number;
  readonly portSet: number;
  readonly protoMask: number;
  readonly seed: number;
  readonly modulus: number;
  readonly offset: number;
}

/** Hands the packet to a socket of the host; here no process has one open, and the packet is dropped. */
export interface TproxyTarget extends Printed {
  readonly kind: "TPROXY";
}

/** Hands the packet to a process; here none listens, and the packet is dropped. */
export interface QueueTarget extends Printed {
  readonly kind: "QUEUE" | "NFQUEUE";
  /** ... or goes on as if it had been accepted. */
  readonly bypass: boolean;
}

/** The network of the address is replaced, its host part stays. */
export interface NetmapTarget {
  readonly kind: "NETMAP";
  /** Already masked. */
  readonly address: number;
  /** A prefix. */
  readonly mask: number;
}

/** connmark_tg_shift() in net/netfilter/xt_connmark.c. */
export type ConnmarkTarget = {
  readonly kind: "CONNMARK";
  /** What is written is shifted by so many bits, 0 to 32. */
  readonly shift: { readonly dir: "left" | "right"; readonly bits: number };
} & (
  | /** connmark = (connmark & ~mask) ^ value. */ ({ readonly op: "set" } & MaskedValue)
  | {
      /** connmark = (connmark & ~ctmask) ^ (mark & nfmask), or mark = (mark & ~nfmask) ^ (connmark & ctmask). */
      readonly op: "save" | "restore";
      readonly nfmask: number;
      readonly ctmask: number;
    }
);

/** Only in raw: attaches a template to the packet, or makes it UNTRACKED. The first that takes effect wins. */
export interface CtTarget {
  readonly kind: "CT";
  /** Nothing else counts then. */
  readonly notrack: boolean;
  /** `mark`: the packet's mark, its low 16 bits. */
  readonly zone: { readonly id: number | "mark"; readonly dir: "both" | "ORIGINAL" | "REPLY" } | null;
  readonly helper: string | null;
  readonly timeout: string | null;
  readonly events: readonly string[];
  readonly expEvents: readonly string[];
}

/** A target that is parsed, checked and printed, and not modelled. */
export interface OpaqueTarget {
  readonly kind: "opaque";
  readonly name: string;
  readonly options: string;
}

export interface RejectTarget {
  readonly kind: "REJECT";
  readonly with: RejectKind;
}

export interface LogTarget {
  readonly kind: "LOG";
  /** syslog level, 0 to 7; 4 (warning) is the default. */
  readonly level: number;
  readonly prefix: string;
  readonly tcpSequence: boolean;
  readonly tcpOptions: boolean;
  readonly ipOptions: boolean;
  readonly uid: boolean;
  readonly macdecode: boolean;
}

export interface NflogTarget {
  readonly kind: "NFLOG";
  readonly group: number;
  readonly prefix: string;
  /** Bytes of the packet to be copied; null: all. `oldSize`: by an old name, which the kernel does not heed. */
  readonly size: number | null;
  readonly oldSize: number | null;
  /** Packets to be queued before they are sent on; 1 is the default. */
  readonly threshold: number;
}

/** tos = (tos & ~mask) ^ value. */
export interface TosTarget extends MaskedValue {
  readonly kind: "TOS";
}

export interface DscpTarget {
  readonly kind: "DSCP";
  readonly dscp: number;
}

/** Never below 0 or above 255. */
export interface TtlTarget {
  readonly kind: "TTL";
  readonly op: "set" | "inc" | "dec";
  readonly ttl: number;
}

/** Sets the bits that are not null. Options of TCP are flags of its header. */
export interface EcnTarget {
  readonly kind: "ECN";
  readonly cwr: 0 | 1 | null;
  readonly ece: 0 | 1 | null;
  readonly ect: number | null;
}

/** Lowers the MSS option, or adds it to a header without data behind it. */
export interface TcpmssTarget {
  readonly kind: "TCPMSS";
  /** `pmtu`: what fits the smaller of the MTUs of the route and of the route back. */
  readonly mss: number | "pmtu";
}

/** Overwrites options of TCP with NOPs. */
export interface TcpoptstripTarget {
  readonly kind: "TCPOPTSTRIP";
  /** Kinds of options, rising. */
  readonly options: readonly number[];
}

/** mark = (mark & ~mask) ^ value: the form to which iptables reduces all five options. */
export interface MarkTarget {
  readonly kind: "MARK";
  readonly value: number;
  readonly mask: number;
}

/** struct nf_nat_range2. */
export interface NatRange {
  /** null: the address stays (DNAT to a port alone) or is chosen by the kernel (MASQUERADE, REDIRECT). */
  readonly addresses: Range | null;
  readonly ports: Range | null;
  /** DNAT `A:5000-5010/3000`: the port of the packet that maps to `ports.lo`; null without a shift. */
  readonly basePort: number | null;
  readonly random: boolean;
  readonly randomFully: boolean;
  readonly persistent: boolean;
}
