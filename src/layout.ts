// The bytes that TypeScript and AssemblyScript share: integer constants, and the tables that explain them.

/** First words of an encoded program; the engine refuses others. */
export const PROGRAM_MAGIC = 0x56445254; // "VDRT"
export const LAYOUT_VERSION = 1;

/*
 * Packet record: 64 bytes, back to back, little-endian, every field a u32 word in host byte order, so that a field
 * is named by its word alone. A word is what a clause may ask of a packet; all but src, dst and mark are below 65,536.
 * (IPv6 will add three words to each address.)
 *
 *  word  field
 *   0  src        IPv4 address, 10.0.0.1 = 0x0a000001
 *   1  dst
 *   2  sport      0 when the protocol has no ports (ICMP: the echo id, for NAT alone)
 *   3  dport
 *   4  proto      IANA protocol number
 *   5  inIface    number of the interface, see InterfaceTable; 0: none
 *   6  outIface
 *   7  ctState    CT_ state * 4 + (1: source translated) + (2: destination translated); CT_FIRST: to be found out
 *   8  tcpFlags   byte 13 of the TCP header
 *   9  icmp       type << 8 | code
 *  10  mark
 *  11  transport  bytes of the transport header and payload at fragment offset 0, 255 at most;
 *                 TRANSPORT_OFFSET_1 at offset 1 (8 bytes), TRANSPORT_LATER behind that
 *  12  ttl
 *  13  tos
 *  14  length     total IP length
 *  15  facts      FACT_ bits
 */
export const FIELD_SRC = 0;
export const FIELD_DST = 1;
export const FIELD_SPORT = 2;
export const FIELD_DPORT = 3;
export const FIELD_PROTO = 4;
export const FIELD_IN_IFACE = 5;
export const FIELD_OUT_IFACE = 6;
export const FIELD_CT_STATE = 7;
export const FIELD_TCP_FLAGS = 8;
export const FIELD_ICMP = 9;
export const FIELD_MARK = 10;
export const FIELD_TRANSPORT = 11;
export const FIELD_TTL = 12;
export const FIELD_TOS = 13;
export const FIELD_LENGTH = 14;
export const FIELD_FACTS = 15;
export const FIELD_COUNT = 16;
export const PACKET_BYTES = 64;

export const TRANSPORT_OFFSET_1 = 256;
export const TRANSPORT_LATER = 257;

export const FACT_DF = 1;
export const FACT_MORE_FRAGMENTS = 2;
/** The checksum is wrong as nf_ip_checksum() sees it. */
export const FACT_BAD_CHECKSUM = 4;
/** The transport header is malformed as conntrack sees it (cut short, wrong length): the connection is INVALID. */
export const FACT_MALFORMED = 8;
/** A later fragment, or a transport header cut short: such packets take the odd programs. */
export const FACT_ODD = 16;
/** The frame was not sent to this host alone: FRAME_ in two bits. */
export const FACT_FRAME_SHIFT = 5;
export const FRAME_HOST = 0;
export const FRAME_BROADCAST = 1;
export const FRAME_MULTICAST = 2;
export const FRAME_OTHERHOST = 3;
/** Sent by the host itself. */
export const FACT_LOCAL = 128;
/** Local, without a source of its own: the kernel chooses. */
export const FACT_CHOOSE_SOURCE = 256;
/** Loose or strict source routing stands among the IP options. */
export const FACT_SOURCE_ROUTED = 512;
/** Local, of a socket bound to the interface in the word outIface. */
export const FACT_BOUND = 1024;
/** GRE in which the kernel cannot write another destination, another source: it drops what NAT would change. */
export const FACT_FIXED_DESTINATION = 2048;
export const FACT_FIXED_SOURCE = 4096;
/** The checksum covers the addresses: wrong once the kernel has chosen a source. */
export const FACT_SUMMED = 8192;

export const PROTO_ICMP = 1;

export const CT_INVALID = 0;
export const CT_NEW = 1;
export const CT_ESTABLISHED = 2;
export const CT_RELATED = 3;
export const CT_UNTRACKED = 4;
export const CT_SNAT_BIT = 1;
export const CT_DNAT_BIT = 2;
/** As a whole word: the state of a first packet, found out where the kernel tracks connections. */
export const CT_FIRST = 0xff;

/** "No rule", "no address", "no program": a u32 that is none. */
export const NONE = 0xffffffff;

/*
 * Clause record: 48 bytes.
 *
 *   0  u32  action     ACTION_
 *   4  u32  rule       number of the rule or policy (RuleTable), or NONE
 *   8  u32  arg        skip: the clause to go on with; SET: value; TTL: TTL_; TCPMSS: the size, NONE: what the route takes; DECIDE: the answer; REJECT: REJECT_ kind;
 *                      NAT: byte offset of a NAT record in the program's data; CALL: number of the program;
 *                      CONNMARK: value, or mask of the connection's mark; CT: TEMPLATE_ bits, 0: not tracked
 *  12  u32  arg2       SET: mask; TTL: how much; NAT: number of the memory for what it draws;
 *                      CONNMARK: mask, or mask of the packet's mark
 *  16  u32  tests      byte offset of the first test record in the program's data
 *  20  u32  testCount
 *  24  u32  flags      CLAUSE_ bits
 *  28  u32  field      SET: FIELD_; CONNMARK: CONNMARK_ | to the right << 8 | bits to shift << 16
 *  32  u64  packets    counted here, where they are met, until somebody asks
 *  40  u64  bytes
 */
export const CLAUSE_BYTES = 48;
export const CLAUSE_ACTION = 0;
export const CLAUSE_RULE = 4;
export const CLAUSE_ARG = 8;
export const CLAUSE_ARG2 = 12;
export const CLAUSE_TESTS = 16;
export const CLAUSE_TEST_COUNT = 20;
export const CLAUSE_FLAGS = 24;
export const CLAUSE_FIELD = 28;
export const CLAUSE_PACKETS = 32;
export const CLAUSE_BYTE_COUNT = 40;

/** The rule's counter moves, and a trace names it. */
export const CLAUSE_COUNTS = 1;

/** Goes on with the next clause. */
export const ACTION_GO_ON = 0;
/** Goes on with clause `arg`. */
export const ACTION_SKIP = 1;
/** field = (field & ~arg2) ^ arg, then goes on. */
export const ACTION_SET = 2;
/** Runs program `arg`, then goes on with the next clause. */
export const ACTION_CALL = 3;
/** Goes back to where the CALL stands; ends a program that was not called. */
export const ACTION_BACK = 4;
/** Changes the TTL as `arg` says, then goes on. */
export const ACTION_TTL = 5;
/** Lowers or adds the MSS option, then goes on; drops the packet if its header is broken. */
export const ACTION_TCPMSS = 6;
/** tcpFlags = (tcpFlags & ~arg2) ^ arg, then goes on; drops a packet without a whole TCP header. */
export const ACTION_ECN = 7;
/** Changes the connection's mark or takes it over, then goes on. */
export const ACTION_CONNMARK = 8;
/** Says how the packet is to be tracked, then goes on; the first to say so counts. */
export const ACTION_CT = 9;
/** Turns options of TCP into NOPs, then goes on; drops the packet if its header is broken. Bit n of eight words at `arg` of the program's data: kind n. */
export const ACTION_TCPOPTSTRIP = 10;
/** Gives the mark of the HMARK record at `arg` of the program's data, then goes on. */
export const ACTION_HMARK = 11;
/** Changes set number `arg` as `field` says (SHOW_ and IPSET_ bits), with timeout `arg2` (NONE: its own), then goes on. */
export const ACTION_IPSET = 12;
/** From here on an action ends the look-up. */
export const ACTION_ENDS = 16;
export const ACTION_ACCEPT = 16;
/** `arg` DROP_UNTOLD: who sent it is told of no error. */
export const ACTION_DROP = 17;
export const ACTION_REJECT = 18;
export const ACTION_DNAT = 19;
export const ACTION_SNAT = 20;
export const ACTION_MASQUERADE = 21;
export const ACTION_REDIRECT = 22;
/** The answer is `arg`. */
export const ACTION_DECIDE = 23;
/** Its NAT record: the network in addressLo, its mask in addressHi. */
export const ACTION_NETMAP = 24;

export const DROP_UNTOLD = 1;

export const CONNMARK_SET = 0;
export const CONNMARK_SAVE = 1;
export const CONNMARK_RESTORE = 2;

/** How a packet is to be tracked: the zone in the low 16 bits, its direction (0: both, 1: original, 2: reply) << 16. */
export const TEMPLATE_DIRECTION_SHIFT = 16;
/** The zone is the packet's mark. */
export const TEMPLATE_MARK = 1 << 18;
/** Always there, so that a template is never 0. */
export const TEMPLATE_GIVEN = 1 << 19;

export const TTL_SET = 0;
export const TTL_INC = 1;
export const TTL_DEC = 2;

/** REJECT kinds: ICMP code of type 3, or this for a TCP reset. */
export const REJECT_TCP_RESET = 256;

/*
 * Test record: 24 bytes, evaluated in order when the boxes of a clause hold.
 *
 *   0  u32  kind     TEST_
 *   4  u32  field    FIELD_; recent: RECENT_ bits; connection: CONNECTION_; connbytes: CONNBYTES_; connlimit: FIELD_
 *   8  u32  a        masked: mask; set: byte offset of the intervals in the program's data; limit, nth: number of the
 *                    memory; random: probability of 2^31; intact: least bytes of transport header; mac: upper two bytes;
 *                    owner, mss: least; socket: nothing;
 *                    recent: number of the list; quota: number of the memory; connbytes: byte offset of u64 least, u64 most
 *                    in the program's data; connlimit: number of the memory; hashlimit: number of the table
 *  12  u32  b        masked: value; set: how many intervals; limit: credits that a packet costs; nth: every;
 *                    random: number of the memory; mac: lower four bytes; owner, mss: most; recent: seconds; quota: low half;
 *                    connlimit: mask
 *  16  u32  c        set: another FIELD_ that may lie there instead, 0: none; limit: most credits; nth: packet;
 *                    random: number of the rule; mac: number of lo; owner: offset in the origin record; recent: hits;
 *                    quota: high half; connlimit: most
 *  20  u32  negated  0 or 1
 */
export const TEST_BYTES = 24;
export const TEST_KIND = 0;
export const TEST_FIELD = 4;
export const TEST_A = 8;
export const TEST_B = 12;
export const TEST_C = 16;
export const TEST_NEGATED = 20;

/** (field & a) == b. */
export const TEST_MASKED = 0;
/** The field, or field c, lies in one of b intervals (sorted pairs lo, hi). */
export const TEST_SET = 1;
/** In b: 65,537 words in front of the intervals tell how many of them begin below each value of the upper 16 bits. */
export const SET_INDEXED = 0x80000000;
export const TEST_LIMIT = 2;
export const TEST_NTH = 3;
export const TEST_RANDOM = 4;
/** The transport header is there; if it is cut short the packet is dropped on the spot, if it is a later fragment false. */
export const TEST_INTACT = 5;
/** Source address of the frame, where there is one. */
export const TEST_MAC = 6;
/** The socket has an owner whose id lies in a..b; without a socket, or with one of the kernel's, only its negation holds. */
export const TEST_OWNER = 7;
/** There is a socket. */
export const TEST_SOCKET = 8;
/** The MSS option lies in a..b; a broken TCP header drops the packet. */
export const TEST_MSS = 9;
export const TEST_RECENT = 10;
export const TEST_QUOTA = 11;
/** Of the packet's connection: CONNECTION_ `field`, with its a and b. Without a connection: c. */
export const TEST_CONNECTION = 12;

/** (what is asked & a) == b. */
export const CONNECTION_MARK = 0;
export const CONNECTION_ORIGINAL_SRC = 1;
export const CONNECTION_ORIGINAL_DST = 2;
export const CONNECTION_REPLY_SRC = 3;
export const CONNECTION_REPLY_DST = 4;
/** What is asked lies in a..b. */
export const CONNECTION_ORIGINAL_SPORT = 5;
export const CONNECTION_ORIGINAL_DPORT = 6;
export const CONNECTION_REPLY_SPORT = 7;
export const CONNECTION_REPLY_DPORT = 8;
export const CONNECTION_PROTO = 9;
/** 0: the packet goes in the original direction, 1: in that of replies. */
export const CONNECTION_DIRECTION = 10;
/** Whole seconds until it times out. */
export const CONNECTION_EXPIRES = 11;
/** One of the STATUS_ bits a is set. */
export const CONNECTION_STATUS = 12;

/** The word of the payload at byte `field`, as far as c has bits, lies in a..b. */
export const TEST_SPI = 13;
/** The chunks of SCTP: a: byte offset of b words in the program's data (type | mask << 8 | flags << 16), c: CHUNKS_. */
export const TEST_CHUNKS = 14;
/** Bit n of a: the type n of DCCP holds. */
export const TEST_DCCP_TYPES = 15;
/** Option a stands in the header. */
export const TEST_DCCP_OPTION = 16;
export const TEST_TCP_OPTION = 17;

/** What the packet's connection has carried lies in the range at a; `field`: CONNBYTES_ what, and of which directions. */
export const TEST_CONNBYTES = 18;
/** The network of the address in `field`, as far as b has bits, has at most c connections. */
export const TEST_CONNLIMIT = 19;

export const CONNBYTES_PACKETS = 0;
export const CONNBYTES_BYTES = 1;
/** Bytes of a packet, on average. */
export const CONNBYTES_AVERAGE = 2;
/** Bits for the directions that count together. */
export const CONNBYTES_ORIGINAL = 4;
export const CONNBYTES_REPLY = 8;

export const CHUNKS_ANY = 0;
export const CHUNKS_ALL = 1;
export const CHUNKS_ONLY = 2;

/** It is in set number a; field: SHOW_ bits. */
export const TEST_IPSET = 20;

/** It is below the rate of table a of -m hashlimit; a packet that shows no ports, or finds no room, is dropped. */
export const TEST_HASHLIMIT = 21;

/** Bytes stand in the packet: a: byte offset of the pattern in the program's data, b: its length, c: from | to << 16, field: STRING_. */
export const TEST_STRING = 22;
/** Words of the packet: a: byte offset of b tests (assembly/whole.ts). */
export const TEST_U32 = 23;
/** A program over the packet: a: byte offset of its b instructions. */
export const TEST_BPF = 24;

/** The time of day and the day: a: byte offset of six TIME_ words; a night belongs to the day on which it began: c. */
export const TEST_TIME = 25;
export const TIME_DATE_START = 0;
export const TIME_DATE_STOP = 4;
export const TIME_DAY_START = 8;
export const TIME_DAY_STOP = 12;
export const TIME_MONTHDAYS = 16;
export const TIME_WEEKDAYS = 20;

/** The way back to the source leads out by the interface that it came in by: a: RPFILTER_ bits. */
export const TEST_RPFILTER = 26;
/** Bit n of b: connections whose source has hash n of c, by seed a. A frame to a group then counts as one to the host. */
export const TEST_CLUSTER = 27;
/** `limit` of iptables-nft: state a, a token costs b | c << 32 nanoseconds, there may be `field` of them. */
export const TEST_NFT_LIMIT = 28;
export const RPFILTER_LOOSE = 1;
export const RPFILTER_VALID_MARK = 2;
export const RPFILTER_ACCEPT_LOCAL = 4;

/** The pattern is in upper case, and any case will do. */
export const STRING_ANY_CASE = 1;
/** What lies across two places is not found. */
export const STRING_MAY_MISS = 2;

export const U32_AND = 0;
export const U32_LEFT = 1;
export const U32_RIGHT = 2;
export const U32_AT = 3;

export const BPF_TEST_INSTRUCTION_BYTES = 8;

/** What the embedder tells of bytes that it has laid down. */
export const LAID_AT = 0;
export const LAID_BYTES = 4;
/** LAID_ bits. */
export const LAID_FLAGS = 8;
export const LAID_SCATTERED = 1;
/** The IP id, and the checksum with it, is not known. */
export const LAID_NO_ID = 2;

/** Bit n: part n of an element is the packet's source; then how many parts the rule names, and whether exceptions hold. */
export const SHOW_PARTS_SHIFT = 8;
export const SHOW_NOMATCH = 0x10000;

/** Which operation, in the two lowest bits. */
export const RECENT_SET = 0;
export const RECENT_RCHECK = 1;
export const RECENT_UPDATE = 2;
export const RECENT_REMOVE = 3;
export const RECENT_REAP = 4;
export const RECENT_RTTL = 8;
export const RECENT_DST = 16;

/*
 * List of -m recent: header, then RECENT_ENTRIES entries, then for each `kept` stamps, f64 milliseconds.
 *
 *   0  u32  mask, 4 u32 kept, 8 u32 sequence    counts what entries were last seen by
 *  12       (zero)
 * Entry: 32 bytes: u32 born (0: free; by the same count), u32 seen, u32 address, u32 ttl, u32 stampCount, u32 next, 8 (zero).
 */
export const LIST_BYTES = 16;
export const LIST_MASK = 0;
export const LIST_KEPT = 4;
export const LIST_SEQUENCE = 8;
export const LIST_ENTRIES = 100;
export const ENTRY_BYTES = 32;
export const ENTRY_BORN = 0;
export const ENTRY_SEEN = 4;
export const ENTRY_ADDRESS = 8;
export const ENTRY_TTL = 12;
export const ENTRY_STAMPS = 16;
export const ENTRY_NEXT = 20;

/*
 * Table of -m hashlimit: 96 bytes.
 *
 *   0  u32  parts     HASH_ bits
 *   4  u32  srcMask, 8 u32 dstMask
 *  12  u32  most      entries
 *  16  u32  count     slots in use
 *  20  u32  slots     how many, a power of two; 0: none yet
 *  24  u32  entries   their address; open addressing without graves
 *  28  u32  spare     as many slots to move to; 0: none yet
 *  32  f64  expire, 40 f64 gcInterval, 48 f64 interval    milliseconds
 *  56  u64  cost      of a packet, of 16 bytes; of a window the rate
 *  64  u64  cap       most credits; of bytes how often the bucket is filled at once; of a window what it takes
 *  72       (zero)
 * Entry: 48 bytes: u32 1 if it is in use, u32 src, u32 dst, u32 ports (source << 16 | destination), f64 expires, f64 since
 * (milliseconds), u64 credits (of a window what came), u64 refills of bytes (of a window 1 if the one before was above the rate).
 */
export const HASHLIMIT_BYTES = 96;
export const HASHLIMIT_PARTS = 0;
export const HASHLIMIT_SRC_MASK = 4;
export const HASHLIMIT_DST_MASK = 8;
export const HASHLIMIT_MOST = 12;
export const HASHLIMIT_COUNT = 16;
export const HASHLIMIT_SLOTS = 20;
export const HASHLIMIT_ENTRIES = 24;
export const HASHLIMIT_SPARE = 28;
export const HASHLIMIT_EXPIRE = 32;
export const HASHLIMIT_GC = 40;
export const HASHLIMIT_INTERVAL = 48;
export const HASHLIMIT_COST = 56;
export const HASHLIMIT_CAP = 64;

export const HASH_BY_SRC = 1;
export const HASH_BY_SPORT = 2;
export const HASH_BY_DST = 4;
export const HASH_BY_DPORT = 8;
export const HASH_OF_BYTES = 16;
/** What came in a window of time is compared; else tokens are taken. */
export const HASH_OF_WINDOWS = 32;

export const HASHED_BYTES = 48;
export const HASHED_SRC = 4;
export const HASHED_DST = 8;
export const HASHED_PORTS = 12;
export const HASHED_EXPIRES = 16;
export const HASHED_SINCE = 24;
export const HASHED_LEFT = 32;
export const HASHED_MORE = 40;

/*
 * Ipset record: 96 bytes, a set that is looked up by hashing. Lists of sets have members alone.
 *
 *   0  u32  parts      IPSET_ bits
 *   4  u32  partCount
 *   8  u32  netmask, 12 u32 markmask
 *  16  u32  lo, 20 u32 hi   of a bitmap
 *  24  u32  timeout    seconds of a new element; NONE: elements do not time out
 *  28  u32  most       elements that it takes
 *  32  u32  entries    address of the slots, a power of two, open addressing without graves
 *  36  u32  mask       slots - 1
 *  40  u32  count      of elements
 *  44  u32  lengths    address: how many elements have each length 0..32 of their network; then of their second one
 *  48  u32  members    address of their set numbers, 52 u32 how many
 *  56       (zero)
 * Entry: 48 bytes: u32 state (MEMBER_ bits), five u32 of key: ip, port | proto << 16, second address (or mark, or lower four bytes
 * of the MAC address), lengths of the networks (the first | the second << 8 | upper two bytes of the MAC address << 16), interface
 * (NONE: counts those of the network); f64 seconds when it times out (0: never);
 * u32 mark, u32 its mask; u32 count; u32 (zero)
 */
export const IPSET_BYTES = 96;
export const IPSET_PARTS = 0;
export const IPSET_PART_COUNT = 4;
export const IPSET_NETMASK = 8;
export const IPSET_MARKMASK = 12;
export const IPSET_LO = 16;
export const IPSET_HI = 20;
export const IPSET_TIMEOUT = 24;
export const IPSET_MOST = 28;
export const IPSET_ENTRIES = 32;
export const IPSET_MASK = 36;
export const IPSET_COUNT = 40;
export const IPSET_LENGTHS = 44;
export const IPSET_MEMBERS = 48;
export const IPSET_MEMBER_COUNT = 52;

export const IPSET_HAS_IP = 1;
export const IPSET_HAS_NET = 2;
export const IPSET_HAS_PORT = 4;
export const IPSET_HAS_IP2 = 8;
export const IPSET_HAS_NET2 = 16;
export const IPSET_HAS_MARK = 32;
export const IPSET_HAS_MAC = 64;
export const IPSET_HAS_IFACE = 128;
/** Ports of TCP and UDP alike. */
export const IPSET_PORTS_ALONE = 256;
export const IPSET_NO_ZERO = 512;
export const IPSET_IPV6 = 1024;
export const IPSET_LIST = 2048;

export const MEMBER_BYTES = 48;
export const MEMBER_STATE = 0;
export const MEMBER_KEY = 4;
export const MEMBER_LENGTHS = 16;
export const MEMBER_IFACE = 20;
export const MEMBER_EXPIRES = 24;
export const MEMBER_MARK = 32;
export const MEMBER_MARK_MASK = 36;
export const MEMBER_COUNT = 40;
/** Bits of its state. */
export const MEMBER_THERE = 1;
export const MEMBER_NOMATCH = 2;
/** Its seconds count from when the sets were loaded; else they are of the packets' clock. */
export const MEMBER_LOADED = 4;

/** What ACTION_IPSET does: adds, adds or renews, deletes, takes the mark. */
export const IPSET_ADD = 0;
export const IPSET_RENEW = 0x100000;
export const IPSET_DELETE = 0x200000;
export const IPSET_MAP = 0x300000;

/*
 * Origin record: 64 bytes, what else tests ask of a packet; only where some rule of the set does.
 *
 *   0  u32  flags     ORIGIN_ bits
 *   4  u32  macHigh, 8 u32 macLow   source of the frame: its upper two bytes, its lower four
 *  12  u32  uid, 16 u32 gid         of the socket that sent it
 *  20  u32  mss       the MSS option as -m tcpmss reads it over MSS_KNOWN; 0: none; MSS_BROKEN
 *  24  u32  option    the MSS option as TCPMSS finds it, in the same way; TCPMSS changes both
 *  28  u32  room      1: TCPMSS may add the option
 *  32  u32  tcpFlags  written, over ORIGIN_FLAGS_KNOWN, where ECN has changed them; 0: it has not
 *  36  u32  sum       what is added up too much for the TCP checksum to be right, modulo 65,535
 *  40  u32  payload   address of what stands behind the IP header, as it came; 0: not known, or nothing asks for it
 *  44  u32  size      its bytes
 *  48       (zero)
 */
export const ORIGIN_BYTES = 64;
export const ORIGIN_FLAGS = 0;
export const ORIGIN_MAC_HIGH = 4;
export const ORIGIN_MAC_LOW = 8;
export const ORIGIN_UID = 12;
export const ORIGIN_GID = 16;
export const ORIGIN_MSS = 20;
export const ORIGIN_OPTION = 24;
export const ORIGIN_ROOM = 28;
export const ORIGIN_TCP_FLAGS = 32;
export const ORIGIN_SUM = 36;
export const ORIGIN_PAYLOAD = 40;
export const ORIGIN_PAYLOAD_BYTES = 44;

export const ORIGIN_HAS_MAC = 1;
export const ORIGIN_HAS_SOCKET = 2;
export const ORIGIN_HAS_OWNER = 4;
/** The MSS option that TCPMSS finds begins at an odd byte. */
export const ORIGIN_ODD_OPTION = 8;

export const MSS_KNOWN = 0x10000;
export const MSS_BROKEN = 0x20000;
export const ORIGIN_FLAGS_KNOWN = 0x100;

/*
 * HMARK record: 36 bytes.
 *
 *   0  u32  flags      HMARK_
 *   4  u32  srcMask, 8 u32 dstMask
 *  12  u32  portMask, 16 u32 portSet   the source port in the upper half
 *  20  u32  protoMask
 *  24  u32  seed
 *  28  u32  modulus, 32 u32 offset
 */
export const HMARK_FLAGS = 0;
export const HMARK_SRC_MASK = 4;
export const HMARK_DST_MASK = 8;
export const HMARK_PORT_MASK = 12;
export const HMARK_PORT_SET = 16;
export const HMARK_PROTO_MASK = 20;
export const HMARK_SEED = 24;
export const HMARK_MODULUS = 28;
export const HMARK_OFFSET = 32;
/** Of the connection. */
export const HMARK_CT = 1;

/*
 * NAT record: 24 bytes.
 *
 *   0  u32  flags     NAT_
 *   4  u32  addressLo
 *   8  u32  addressHi
 *  12  u32  portLo
 *  16  u32  portHi
 *  20  u32  basePort
 */
export const NAT_BYTES = 24;
export const NAT_FLAGS = 0;
export const NAT_ADDRESS_LO = 4;
export const NAT_ADDRESS_HI = 8;
export const NAT_PORT_LO = 12;
export const NAT_PORT_HI = 16;
export const NAT_BASE_PORT = 20;
export const NAT_ADDRESSES = 1;
export const NAT_PORTS = 2;
export const NAT_SHIFT = 4;
export const NAT_RANDOM = 8;
export const NAT_PERSISTENT = 16;

/*
 * Encoded program: header of 64 bytes, then boxes, clauses, data.
 *
 *   0  u32  magic, 4 u32 version
 *   8  u32  fieldMask    bit f: some box asks field f. A box has one (lo, hi) pair for each, in order of f
 *  12  u32  cutMask      fields on which the tree may cut (those that no action of the program changes)
 *  16  u32  boxCount     boxes are sorted by clause; each is u32 clause, then the pairs
 *  20  u32  clauseCount
 *  24  u32  dataBytes    tests, intervals, NAT records
 *  28  u32  boxesOffset, 32 u32 clausesOffset, 36 u32 dataOffset   from the start of the program
 *  40  u32  tree         written by the engine: address of the built tree
 *  44  u32  flags        PROGRAM_
 *  48  u32  subs         written by the engine: address of the addresses of the programs that it may CALL
 *  52  u32  few          written by the engine: address of its form of few boxes; 0: it has a tree
 *  56  u32  before       written by the engine: address of the program that was built before; 0: none was
 *  60       (zero)
 */
export const PROGRAM_BYTES = 64;
export const PROGRAM_VERSION = 4;
export const PROGRAM_FIELD_MASK = 8;
export const PROGRAM_CUT_MASK = 12;
export const PROGRAM_BOX_COUNT = 16;
export const PROGRAM_CLAUSE_COUNT = 20;
export const PROGRAM_DATA_BYTES = 24;
export const PROGRAM_BOXES = 28;
export const PROGRAM_CLAUSES = 32;
export const PROGRAM_DATA = 36;
export const PROGRAM_TREE = 40;
export const PROGRAM_FLAGS = 44;
export const PROGRAM_SUBS = 48;
export const PROGRAM_FEW = 52;
export const PROGRAM_BEFORE = 56;
/** Every clause ends the look-up and has no tests: the first box that holds is the answer. */
export const PROGRAM_FIRST_MATCH = 1;

/*
 * Built trees, written and read by the engine; src/engine/tree.ts tells what they are like.
 *
 * Tree for look-ups one by one: u32 partCount, u32 (zero), then the root node of each of four parts, then u32 the first clause
 * of each.
 *
 * Node, 8 bytes: u32 cut, u32 child.
 *   inner: the child number is up to two windows of bits, from any two fields of the packet record, side by side.
 *     cut bits 0-3 width of window 1, 4-8 its shift, 9-12 its field; 13-16, 17-21, 22-25 the same of window 2 (0 wide: none)
 *     child: address of child 0, the others follow
 *   leaf: bit 31 set, bits 0-15 the fields that its blocks test; child: address of the leaf
 *
 * Leaf: u32 blockCount, u32 boxCount, 8 bytes (zero), then blocks of four boxes in the order of their clauses:
 *   u32x4 clause (NONE where there is no box), then for each tested field u32x4 lo, u32x4 span.
 *   A box holds where packet - lo <= span, unsigned, in every tested field. What the way to the leaf has decided is not tested.
 */
export const LEAF = 0x80000000;
export const LEAF_HEADER = 16;
export const TREE_PARTS = 8;
export const PART_BYTES = 8;
export const MOST_PARTS = 4;
export const TREE_FIRSTS = 40;
export const TREE_BYTES = 56;

/*
 * First-match tree: u32 partCount; u32 address of the box records; u32 vectors of a key; u32 address of the records' clauses,
 * 0: record n is of clause n; u32 laneCount; u32 1 if the key is that of the usual five fields; u32 log2 of the bytes of a record;
 * then u32 for each lane where its 16 bits stand in the packet record. At FIRST_HEADER a root for each part.
 *
 * Root: a cell, u32 the lowest box of the part, u32 steps that most packets take below it.
 * Cell, 8 bytes: u32 first, u32 second.
 *   inner: first the address of a cut (16 bytes: which byte of the key each bit stands in; 16 bytes: which bit it is),
 *          second that of child 0, the others follow.
 *   leaf:  bit 0 of first set, above it the number of a box; second what comes if that fails: the address of the next
 *          cell, or bit 0 set and above it the answer (all ones: none). Without any box both words are the answer.
 */
export const FIRST_PARTS = 0;
export const FIRST_RECORDS = 4;
export const FIRST_VECTORS = 8;
export const FIRST_CLAUSES = 12;
export const FIRST_LANES = 16;
export const FIRST_PLAIN = 20;
export const FIRST_SHIFT = 24;
export const FIRST_LANE_AT = 32;
export const FIRST_HEADER = 128;
export const ROOT_CUT = 0;
export const ROOT_NODES = 4;
export const ROOT_LOWEST = 8;
export const ROOT_STEPS = 12;
export const ROOT_BYTES = 16;

/*
 * Form of few boxes: u32 end of the entries by number, u32 end of the entries by bounds, u32 pathCount, 4 bytes (zero); u64 all
 * boxes; u32 clause of each box [64]; FEW_PATH_SLOTS slots: u64 boxes, u32 path (0: free), 4 bytes (zero); then entries of 16 bytes:
 *   by number: u32 offset of the field, u32 last index (for all values from there on), u32 table, 4 bytes (zero)
 *   by bounds: u32 offset of the field, u32 bounds (ascending, by fours, filled up with the highest value), u32 table, 4 bytes (zero)
 * Table: u64 boxes for each value, or for each number of bounds that are not above the value.
 */
export const FEW_BY_NUMBER_END = 0;
export const FEW_BY_BOUNDS_END = 4;
export const FEW_PATH_COUNT = 8;
export const FEW_ALL = 16;
export const FEW_CLAUSES = 24;
export const FEW_SLOTS = 280;
export const FEW_SLOT_BYTES = 16;
/** A power of two. */
export const FEW_PATH_SLOTS = 256;
export const FEW_ENTRIES = 4376;
export const FEW_ENTRY_BYTES = 16;

/*
 * Firewall: what the packet's way needs, 320 bytes. Addresses are of the engine's memory; 0: none.
 *
 *    0  u32  programs[2][25]  of every chain: odd packets behind regular ones, table * 5 + hook
 *  200  u32  routes           program; answers are numbers of route records
 *  204  u32  routeRecords
 *  208  u32  masquerade       program over outIface and dst (the next hop); the answer is an address, 0: none
 *  212  u32  ifaces           interface records; number 0 is none
 *  216  u32  flags            FIREWALL_ bits
 *  220  u32  ownAddresses     u32 each, a multiple of four
 *  224  u32  ownCount
 *  228  u32  loIface          number of lo
 *  232  u32  ifaceCount
 *  236  u32  routesBound      program: look-ups of sockets bound to an interface
 *  240  u32  addressTypes     program over dst: the ROUTE_ type of an address in the local table (unicast: not there)
 *  244  u32  owners           program over dst: the interface that has an address, 0: none
 *  248  u32  timeouts         f64 seconds each, TIMEOUT_ and TCP_
 *  252  u32  draws            number of the memory for what nat draws where no rule does
 *  256  u32  ttl              of the answers that the host makes
 *  260       (zero)
 */
export const FIREWALL_PROGRAMS = 0;
export const FIREWALL_ODD = 100;
export const FIREWALL_ROUTES = 200;
export const FIREWALL_ROUTE_RECORDS = 204;
export const FIREWALL_MASQUERADE = 208;
export const FIREWALL_IFACES = 212;
export const FIREWALL_FLAGS = 216;
export const FIREWALL_OWN = 220;
export const FIREWALL_OWN_COUNT = 224;
export const FIREWALL_LO = 228;
export const FIREWALL_IFACE_COUNT = 232;
export const FIREWALL_ROUTES_BOUND = 236;
export const FIREWALL_ADDRESS_TYPES = 240;
export const FIREWALL_OWNERS = 244;
export const FIREWALL_TIMEOUTS = 248;
export const FIREWALL_DRAWS = 252;
export const FIREWALL_TTL = 256;
export const FIREWALL_BYTES = 320;

export const FIREWALL_TRACKING = 1;
export const FIREWALL_TCP_LOOSE = 2;
export const FIREWALL_CHECKSUM = 4;
/** Policy rules or local routes of the user's: sources are always validated by a look-up. */
export const FIREWALL_VALIDATE = 8;
/** There is a table nat. */
export const FIREWALL_NAT = 16;
/** The order of tables is that of iptables-nft. */
export const FIREWALL_NFT = 32;
/** Fragments are put together in front of all rules. */
export const FIREWALL_DATAGRAMS = 64;

export const TABLE_RAW = 0;
export const TABLE_MANGLE = 1;
export const TABLE_NAT = 2;
export const TABLE_FILTER = 3;
export const TABLE_SECURITY = 4;

export const HOOK_PREROUTING = 0;
export const HOOK_INPUT = 1;
export const HOOK_FORWARD = 2;
export const HOOK_OUTPUT = 3;
export const HOOK_POSTROUTING = 4;

/*
 * Route record: 24 bytes.
 *
 *   0  u32  type   ROUTE_
 *   4  u32  iface  0: none
 *   8  u32  via    gateway, or NONE
 *  12  u32  mtu
 *  16  u32  src    for who has none yet; NONE: the destination itself
 *  20       (zero)
 */
export const ROUTE_BYTES = 24;
export const ROUTE_TYPE = 0;
export const ROUTE_IFACE = 4;
export const ROUTE_VIA = 8;
export const ROUTE_MTU = 12;
export const ROUTE_SRC = 16;

/** Types as in RTN_; 0: no route. */
export const ROUTE_NONE = 0;
export const ROUTE_UNICAST = 1;
export const ROUTE_LOCAL = 2;
export const ROUTE_BROADCAST = 3;
export const ROUTE_MULTICAST = 5;
export const ROUTE_BLACKHOLE = 6;
export const ROUTE_UNREACHABLE = 7;
export const ROUTE_PROHIBIT = 8;

/*
 * Interface record: 32 bytes.
 *
 *   0  u32  mtu
 *   4  u32  flags     IFACE_ bits
 *   8  u32  rpFilter  0, 1 strict, 2 loose
 *  12  u32  address   the first, or NONE
 *  16  u32  global, 20 u32 link, 24 u32 host   source for who has none, by the widest scope that will do; 0: none
 */
export const IFACE_BYTES = 32;
export const IFACE_MTU = 0;
export const IFACE_FLAGS = 4;
export const IFACE_RP_FILTER = 8;
export const IFACE_ADDRESS = 12;
export const IFACE_SELECT_GLOBAL = 16;
export const IFACE_SELECT_LINK = 20;
export const IFACE_SELECT_HOST = 24;

export const IFACE_UP = 1;
export const IFACE_ACCEPT_LOCAL = 2;
export const IFACE_ROUTE_LOCALNET = 4;
export const IFACE_FORWARDING = 8;
export const IFACE_SEND_REDIRECTS = 16;
export const IFACE_SOURCE_ROUTE = 32;
export const IFACE_SRC_VALID_MARK = 64;

/*
 * Decision record: 64 bytes, one for each packet.
 *
 *   0  u8   verdict    VERDICT_
 *   1  u8   where      HOOK_, or WHERE_; of dropped and rejected packets
 *   2  u8   flags      DECISION_ bits
 *   3  u8   errno      ERRNO_; 0: none
 *   4  u32  rule       that decided, or NONE
 *   8  u32  iface      where it left or came in; 0: neither
 *  12  u32  src, 16 u32 dst, 20 u32 sport (ICMP: id), 24 u32 dport, 28 u32 mark    the packet at the end
 *  32  u8   ttl, 33 u8 tos
 *  34  u16  mtu        it left in fragments that fit; 0: whole
 *  36  u32  path       hooks, three bits each (hook + 1), the first lowest; behind those that the embedder was told before
 *  40  u8   ctState    CT_ state; 255: not tracked or not reached
 *  41  u8   loops      how often it went PREROUTING, FORWARD, POSTROUTING and came back by lo, before what path says
 *  42  u16  answerEnd  answer records written up to here
 *  44  u32  reply      ICMP type << 8 | code, REPLY_RESET, or NONE
 *  48  u32  dnatRule, 52 u32 snatRule    or NONE
 *  56  u32  traceEnd   words traced up to here, of all packets (while the packet is under way: the last ACCEPT of filter)
 *  60  u32  eventEnd   event records written up to here
 */
export const DECISION_BYTES = 64;
export const DECISION_VERDICT = 0;
export const DECISION_WHERE = 1;
export const DECISION_FLAGS = 2;
export const DECISION_ERRNO = 3;
export const DECISION_RULE = 4;
export const DECISION_IFACE = 8;
export const DECISION_SRC = 12;
export const DECISION_DST = 16;
export const DECISION_SPORT = 20;
export const DECISION_DPORT = 24;
export const DECISION_MARK = 28;
export const DECISION_TTL = 32;
export const DECISION_TOS = 33;
export const DECISION_MTU = 34;
export const DECISION_PATH = 36;
export const DECISION_CT_STATE = 40;
export const DECISION_LOOPS = 41;
export const DECISION_REPLY = 44;
export const DECISION_DNAT_RULE = 48;
export const DECISION_SNAT_RULE = 52;
export const DECISION_TRACE_END = 56;
export const DECISION_ACCEPTED = 56;
export const DECISION_ANSWER_END = 42;
export const DECISION_EVENT_END = 60;

/*
 * Answer record: 256 bytes, a packet that the host made while another was on its way; in the order in which they were made.
 *
 *   0  its decision record (traceEnd, answerEnd, eventEnd: zero)
 *  64  packet record of the packet that is answered, as it was then
 * 128  its own packet record, as it is at its end
 * 192  u32  kind     ICMP type << 8 | code, or REPLY_RESET
 * 196  u32  info     MTU, or gateway of a redirect
 * 200  u32  src      of an ICMP error as it was made
 * 204  u32  mtu      of the way back
 * 208  u32  answered DETAIL_BODY of the packet that is answered
 * 212  u32  src, dst, proto, sport, dport of the quoted packet, as it is quoted at the end
 * 232  u32  option   ORIGIN_OPTION of the packet that is answered
 * 236       (zero)
 */
export const ANSWER_REFUSED = 64;
export const ANSWER_PACKET = 128;
export const ANSWER_KIND = 192;
export const ANSWER_INFO = 196;
export const ANSWER_SRC = 200;
export const ANSWER_MTU = 204;
export const ANSWER_ANSWERED = 208;
export const ANSWER_QUOTED = 212;
export const ANSWER_OPTION = 232;
export const ANSWER_BYTES = 256;

/** In a trace: what follows is of the packet itself (low bits 0), of an answer of this level. */
export const TRACE_LEVEL = 0x80000000;

export const VERDICT_FORWARDED = 0;
export const VERDICT_SENT = 1;
export const VERDICT_DELIVERED = 2;
export const VERDICT_DROPPED = 3;
export const VERDICT_REJECTED = 4;
/** Not modelled: `where` says why (UNMODELLED_). */
export const VERDICT_UNMODELLED = 5;
/** A fragment that waits for the others. */
export const VERDICT_HELD = 6;

export const UNMODELLED_SOURCE_ROUTE = 0;
export const UNMODELLED_BYTES = 1;
export const UNMODELLED_PROTOCOL = 2;
export const UNMODELLED_ENDLESS = 3;
export const UNMODELLED_ANSWERS = 4;
/** A rule asks for a payload that is not known; a negated test for one that is broken. */
export const UNMODELLED_PAYLOAD = 5;
export const UNMODELLED_BROKEN = 6;
/** Not all bytes that a rule asks for are known. */
export const UNMODELLED_WHOLE = 7;

export const WHERE_ROUTING = 5;
export const WHERE_BEFORE_NETFILTER = 6;
export const WHERE_TRANSMIT = 7;

export const DECISION_CHOSEN = 1;
/** It left, and was delivered by the same interface too. */
export const DECISION_DELIVERED = 2;

export const REPLY_RESET = 0x10000;

export const ERRNO_EPERM = 1;
export const ERRNO_EIO = 5;
export const ERRNO_EACCES = 13;
export const ERRNO_EINVAL = 22;
export const ERRNO_EMSGSIZE = 90;
export const ERRNO_ENETUNREACH = 101;
export const ERRNO_EHOSTUNREACH = 113;

/*
 * Traffic: what synthetic packets are drawn from, 128 bytes.
 *
 *   0  u32  seed
 *   4  u32  kind        TRAFFIC_
 *   8  u32  aims        aim records: boxes of the rules' clauses
 *  12  u32  aimCount
 *  16  u32  ways        way records: one for each interface by which packets enter or leave
 *  20  u32  wayCount    0: no host, packets are for a single chain
 *  24  u32  own         pairs lo, hi: addresses of the host
 *  28  u32  ownCount
 *  32  u32  ifaceCount  without a host: interfaces are drawn from 0..ifaceCount
 *  36  u32  conversations  conversation records (zero at first), for packets that belong together
 *  40  u32  conversationCount
 *  44  u32  batch       batches of their packets so far
 *  48  f64  clock       seconds: the time of the next packet of a conversation
 *  56  f64  pace        seconds from one packet to the next
 *  64  u32  hostSpeaks  1: the host itself opens conversations and answers
 *  68       (zero)
 */
export const TRAFFIC_SEED = 0;
export const TRAFFIC_KIND = 4;
export const TRAFFIC_AIMS = 8;
export const TRAFFIC_AIM_COUNT = 12;
export const TRAFFIC_WAYS = 16;
export const TRAFFIC_WAY_COUNT = 20;
export const TRAFFIC_OWN = 24;
export const TRAFFIC_OWN_COUNT = 28;
export const TRAFFIC_IFACE_COUNT = 32;
export const TRAFFIC_CONVERSATIONS = 36;
export const TRAFFIC_CONVERSATION_COUNT = 40;
export const TRAFFIC_BATCH = 44;
export const TRAFFIC_CLOCK = 48;
export const TRAFFIC_PACE = 56;
export const TRAFFIC_HOST_SPEAKS = 64;
export const TRAFFIC_BYTES = 128;

export const TRAFFIC_UNIFORM = 0;
export const TRAFFIC_EDGES = 1;
export const TRAFFIC_FLOWS = 2;
export const TRAFFIC_ZIPF = 3;

/*
 * Conversation record: 64 bytes, a client and a server of which one speaks next. All zero: nobody does.
 *
 *   0  u32  src, dst, sport (ICMP: id), dport of what the client sends
 *  16  u32  src, dst, sport, dport of that as the server sees it
 *  32  u8   proto, 33 u8 phase, 34 u8 1: the server has seen something, 35 (zero)
 *  36  u32  clientIface  where the client's packets come in; 0: the host is the client
 *  40  u32  serverIface  where the server's packets come in; 0: the host is the server
 *  44  u32  left         packets before it ends
 *  48  u32  clientSeq, 52 u32 serverSeq    what each sends next
 *  56  u32  batch        in which one of them spoke last
 *  60       (zero)
 */
export const CONVERSATION_BYTES = 64;
export const CONVERSATION_SEEN_AS = 16;
export const CONVERSATION_PROTO = 32;
export const CONVERSATION_PHASE = 33;
export const CONVERSATION_IS_SEEN = 34;
export const CONVERSATION_CLIENT_IFACE = 36;
export const CONVERSATION_SERVER_IFACE = 40;
export const CONVERSATION_LEFT = 44;
export const CONVERSATION_CLIENT_SEQ = 48;
export const CONVERSATION_SERVER_SEQ = 52;
export const CONVERSATION_BATCH = 56;

/*
 * Aim record: 136 bytes: for each field u32 lo, u32 hi; then u32 hook, u32 1 if the chain is one of nat.
 * Way record: 16 bytes: u32 interface, u32 address of its prefixes (pairs lo, hi), u32 how many, u32 (zero).
 */
export const AIM_BYTES = 136;
export const AIM_HOOK = 128;
export const AIM_NAT = 132;
export const WAY_BYTES = 16;
export const WAY_IFACE = 0;
export const WAY_PREFIXES = 4;
export const WAY_PREFIX_COUNT = 8;

/*
 * Tally: what a stream of decisions adds up to.
 *
 *     0  u64  verdicts[7][8]  by VERDICT_ and where (0 for those that did not end in a hook)
 *   448  u32  natCount        entries used
 *   452  u32  natOthers       translations that found no entry
 *   456       (zero)
 *   512       TALLY_NAT_ENTRIES entries of 24 bytes, open addressing: u32 rule + 1 (0: free), u32 address, u32 port,
 *             u32 1 if the source was translated, u64 packets. Source ports are not told apart (port is 0).
 */
export const TALLY_NAT_COUNT = 448;
export const TALLY_NAT_OTHERS = 452;
export const TALLY_NAT = 512;
export const TALLY_NAT_ENTRIES = 4096;
export const TALLY_NAT_BYTES = 24;
export const TALLY_BYTES = 512 + 4096 * 24;

/*
 * Detail record: 128 bytes, what connection tracking asks of a packet beside its record; all zero where it is not known.
 *
 *  word
 *   0  seq       TCP sequence number
 *   1  ack       TCP acknowledgement number
 *   2  window    as in the header
 *   3  segment   bytes behind the TCP header
 *   4  options   DETAIL_ bits over the window scale (0-14) in the low four
 *   5  sack      right edge of the SACK block that reaches furthest behind `ack`; `ack` where there is none
 *   6  quoted    QUOTED_, of the packet that an ICMP error quotes
 *   7  src, 8 dst, 9 proto, 10 sport (ICMP: id), 11 dport (ICMP: type << 8 | code) of the quoted packet; NAT changes them
 *  12  key       GRE version 1: call id
 *  13  body      number by which the embedder knows the packet's bytes (assembly/pieces.ts); 0: it does not.
 *                Arrivals of a batch, in order, from 1; what is cut or put together behind them; BODY_ANSWER + number of an answer
 *  14  chosen    source that the kernel chose for a packet of the host; 0: none
 *  15  (zero)
 *
 * Of SCTP the first words are others:
 *
 *   0  tag       verification tag
 *   1  initTag   that an INIT or INIT ACK gives
 *   2  chunks    8 words: SCTP_ numbers of the chunks that connection tracking follows, 4 bits each from the low ones on, in
 *                order; 0 ends them
 *  10  flags     their T flags, a bit each
 *  11  facts     DETAIL_ bits; of UDP-Lite too
 */
export const DETAIL_TAG = 0;
export const DETAIL_INIT_TAG = 1;
export const DETAIL_CHUNKS = 2;
export const DETAIL_CHUNK_FLAGS = 10;
export const DETAIL_FACTS = 11;
/** Chunks that fit. */
export const DETAIL_MOST_CHUNKS = 32;
export const DETAIL_SEQ = 0;
export const DETAIL_ACK = 1;
export const DETAIL_WINDOW = 2;
export const DETAIL_SEGMENT = 3;
export const DETAIL_OPTIONS = 4;
export const DETAIL_SACK = 5;
export const DETAIL_QUOTED = 6;
export const DETAIL_QUOTED_SRC = 7;
export const DETAIL_QUOTED_DST = 8;
export const DETAIL_QUOTED_PROTO = 9;
export const DETAIL_QUOTED_SPORT = 10;
export const DETAIL_QUOTED_DPORT = 11;
export const DETAIL_KEY = 12;
export const DETAIL_BODY = 13;
export const DETAIL_CHOSEN = 14;
export const DETAIL_COUNT = 32;
export const DETAIL_BYTES = 128;

/** The window scale option is there. */
export const DETAIL_SCALED = 16;
/** The option that permits SACK is there. */
export const DETAIL_SACK_PERMITTED = 32;
/** There are options at all. */
export const DETAIL_HAS_OPTIONS = 64;

/** The payload is known. */
export const DETAIL_SHOWN = 1;
/** The checksum of SCTP or UDP-Lite is not what conntrack wants. */
export const DETAIL_BAD_SUM = 2;
/** The chunks do not go together: do_basic_checks(). */
export const DETAIL_ILL_MADE = 4;
/** There is a DATA chunk, and one that is not in `chunks`. */
export const DETAIL_DATA = 8;
export const DETAIL_OTHER_CHUNKS = 16;
/** The INIT or INIT ACK is cut short. */
export const DETAIL_NO_INIT_TAG = 32;
/** More chunks than fit. */
export const DETAIL_CHUNKS_CUT = 64;

/** Chunks of SCTP that connection tracking follows. */
export const SCTP_INIT = 1;
export const SCTP_INIT_ACK = 2;
export const SCTP_ABORT = 3;
export const SCTP_SHUTDOWN = 4;
export const SCTP_SHUTDOWN_ACK = 5;
export const SCTP_ERROR = 6;
export const SCTP_COOKIE_ECHO = 7;
export const SCTP_COOKIE_ACK = 8;
export const SCTP_SHUTDOWN_COMPLETE = 9;
export const SCTP_HEARTBEAT = 10;
export const SCTP_HEARTBEAT_ACK = 11;

/** States of associations, as enum sctp_conntrack. */
export const SCTP_NONE = 0;
export const SCTP_CLOSED = 1;
export const SCTP_COOKIE_WAIT = 2;
export const SCTP_COOKIE_ECHOED = 3;
export const SCTP_ESTABLISHED = 4;
export const SCTP_SHUTDOWN_SENT = 5;
export const SCTP_SHUTDOWN_RECD = 6;
export const SCTP_SHUTDOWN_ACK_SENT = 7;
export const SCTP_HEARTBEAT_SENT = 8;

/** Nothing is quoted, or it has no tuple. */
export const QUOTED_NONE = 0;
/** So little is quoted that it cannot be translated. */
export const QUOTED_SHORT = 1;
export const QUOTED_WHOLE = 2;
/** GRE in which the kernel cannot write another destination. */
export const QUOTED_FIXED_DESTINATION = 3;

export const BODY_ANSWER = 0x80000000;

/** Who puts datagrams together: conntrack for what comes in and what the host sends, the host for what it receives. */
export const GATHERER_INCOMING = 0;
export const GATHERER_OUTGOING = 1;
export const GATHERER_DELIVERY = 2;

/** In the two lowest bits; above them, of a whole, the bytes of its longest fragment. Short: its first one holds less than the transport header. */
export const GATHER_WAITING = 0;
export const GATHER_UNKNOWN = 1;
export const GATHER_WHOLE = 2;
export const GATHER_WHOLE_SHORT = 3;

export const CUT_FIRST = 0;
export const CUT_COUNT = 4;

/*
 * Flow record: 104 bytes, a connection. Times are seconds of the packets' clock. Where a rule asks for it 32 more follow: for
 * each direction u64 packets, u64 bytes.
 *
 *   0  tuple of the original direction: u32 src, u32 dst, u16 sport (ICMP: id), u16 dport (ICMP: type << 8 | code)
 *  12  tuple of the replies
 *  24  u8   proto, 25 u8 state (TCP_, SCTP_)
 *  26  u16  zone
 *  28  u16  status     STATUS_ bits
 *  30  u16  masquerade interface that MASQUERADE hid it behind; 0: none
 *  32  u32  next, 36 u32 previous, of the flows whose source is translated, and those of ICMP
 *  40  f64  expires    while it is not confirmed: seconds that it will live
 *  48  u32  mark
 *  52  TCP: for each direction u32 end, maxEnd, maxWindow, maxAck; then u32 lastSeq, lastAck, lastEnd
 *      UDP: f64 at 56 from when on it is a stream
 *      SCTP: u32 tags[2] of each direction; u32 at 60 association (ASSOCIATION_)
 *      of one that has ended in place of lastEnd: the flow that ended before
 *  96  u8   flags[2]   SEEN_ bits of each direction
 *  98  u8   scales     window scale of the original direction, of replies << 4
 *  99  u8   lastFlags  SEEN_ bits
 * 100  u16  lastWindow
 * 102  u8   last       TCP_ index of the last packet | direction << 3 | its window scale << 4
 * 103  u8   retransmissions
 */
export const FLOW_TUPLE_BYTES = 12;
export const FLOW_TUPLE_SRC = 0;
export const FLOW_TUPLE_DST = 4;
export const FLOW_TUPLE_PORTS = 8;
export const FLOW_PROTO = 24;
export const FLOW_TCP_STATE = 25;
export const FLOW_ZONE = 26;
export const FLOW_STATUS = 28;
export const FLOW_MASQUERADE = 30;
export const FLOW_BY_SOURCE_NEXT = 32;
export const FLOW_BY_SOURCE_PREVIOUS = 36;
export const FLOW_EXPIRES = 40;
export const FLOW_MARK = 48;
export const FLOW_SEEN = 52;
export const FLOW_SEEN_BYTES = 16;
export const FLOW_SEEN_END = 52;
export const FLOW_SEEN_MAX_END = 56;
export const FLOW_SEEN_MAX_WINDOW = 60;
export const FLOW_SEEN_MAX_ACK = 64;
export const FLOW_STREAM = 56;
export const FLOW_TAGS = 52;
export const FLOW_ASSOCIATION = 60;
export const FLOW_LAST_SEQ = 84;
export const FLOW_LAST_ACK = 88;
export const FLOW_LAST_END = 92;
export const FLOW_ENDED_BEFORE = 92;
export const FLOW_SEEN_FLAGS = 96;
export const FLOW_SCALES = 98;
export const FLOW_LAST_FLAGS = 99;
export const FLOW_LAST_WINDOW = 100;
export const FLOW_LAST = 102;
export const FLOW_RETRANSMISSIONS = 103;
export const FLOW_BYTES = 104;
export const FLOW_CARRIED = 104;
export const FLOW_CARRIED_BYTES = 16;
export const FLOW_COUNTING_BYTES = 136;

export const STATUS_SEEN_REPLY = 1;
export const STATUS_ASSURED = 2;
export const STATUS_CONFIRMED = 4;
export const STATUS_SOURCE_NAT = 8;
export const STATUS_DESTINATION_NAT = 16;
/** nat has been asked for the source, for the destination. */
export const STATUS_SOURCE_DONE = 32;
export const STATUS_DESTINATION_DONE = 64;
/** It has ended. */
export const STATUS_DYING = 128;
/** Changed since it was last told of. */
export const STATUS_CHANGED = 256;
/** ... and so has its mark, its TCP state. */
export const STATUS_MARKED = 512;
export const STATUS_STATE = 1024;
/** Its zone holds in the original direction alone, in that of replies alone. Two bits side by side. */
export const STATUS_ZONE_ORIGINAL = 2048;
export const STATUS_ZONE_REPLY = 4096;
/** One of its ports was drawn by lot, or is that of a connection whose was. */
export const STATUS_DRAWN = 8192;

/** A side of the association has sent an INIT: `ASSOCIATION_INIT << direction`. */
export const ASSOCIATION_INIT = 1;
/** A heartbeat of that direction had another tag, and no answer has confirmed it: `ASSOCIATION_STRAY << direction`. */
export const ASSOCIATION_STRAY = 4;

/** TCP states, as enum tcp_conntrack. */
export const TCP_NONE = 0;
export const TCP_SYN_SENT = 1;
export const TCP_SYN_RECV = 2;
export const TCP_ESTABLISHED = 3;
export const TCP_FIN_WAIT = 4;
export const TCP_CLOSE_WAIT = 5;
export const TCP_LAST_ACK = 6;
export const TCP_TIME_WAIT = 7;
export const TCP_CLOSE = 8;
export const TCP_SYN_SENT2 = 9;

/*
 * Timeouts: f64 seconds each; those of TCP at the number of their state.
 */
export const TIMEOUT_RETRANSMITTED = 10;
export const TIMEOUT_UNACKNOWLEDGED = 11;
export const TIMEOUT_UDP = 12;
export const TIMEOUT_UDP_STREAM = 13;
export const TIMEOUT_ICMP = 14;
export const TIMEOUT_GRE = 15;
export const TIMEOUT_GRE_STREAM = 16;
export const TIMEOUT_GENERIC = 17;
/** That of SCTP_CLOSED; the other states follow. */
export const TIMEOUT_SCTP = 18;
export const TIMEOUT_COUNT = 26;

/*
 * Event record: 48 bytes, what a packet did to a connection.
 *
 *   0  u32  kind   EVENT_
 *   4  u32  mark
 *   8  the first 32 bytes of the flow record: tuples, protocol, state, zone, status
 *  40  (zero)
 */
export const EVENT_KIND = 0;
export const EVENT_MARK = 4;
export const EVENT_FLOW = 8;
export const EVENT_BYTES = 48;
export const EVENT_NEW = 0;
export const EVENT_UPDATE = 1;
export const EVENT_DESTROY = 2;
/** It timed out; all these come first. */
export const EVENT_EXPIRE = 3;
