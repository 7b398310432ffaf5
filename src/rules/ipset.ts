// Text of `ipset save` -> sets: what `ipset restore` would make of it.
//
// Elements are single, as the kernel keeps them: ranges are written out, networks masked. The types, and what they refuse,
// are those of net/netfilter/ipset/ip_set_*.c; the words those of ipset(8).
// Differs: of IPv6 sets the addresses are checked and not kept, since no packet here is of IPv6.

import { parseAddress, prefixMask } from "../net/address.ts";
import { parseAddress6 } from "../net/address6.ts";
import { ICMP_TYPES } from "../net/icmp.ts";
import { parseDecimal64, parseNumber } from "../net/number.ts";
import { parseProtocol, PROTO_ICMP, PROTO_TCP } from "../net/protocol.ts";
import { servicePort } from "../net/service.ts";
import { RuleError } from "./error.ts";
import type { IpSet, Range, SetElement, SetPart, SetType } from "./ruleset.ts";
import { SET_TYPES } from "./ruleset.ts";

/** Throws RuleError for what `ipset restore` refuses, and for words that are not known. */
export function parseIpset(text: string, file: string): readonly IpSet[] {
  const sets = new Map<string, SetDraft>();
  const lines = (text.startsWith("\ufeff") ? text.slice(1) : text).split("\n");
  for (const [index, line] of lines.entries()) {
    const words = new Words(line.endsWith("\r") ? line.slice(0, -1) : line, file, index + 1);
    const command = words.next();
    if (command === null || command.startsWith("#")) continue;
    if (command === "create" || command === "-N") create(words, sets);
    else if (command === "add" || command === "-A") add(words, sets);
    else words.fail(`"${command}" is no line of \`ipset save\`: create and add`);
  }
  if (sets.size === 0) {
    throw new RuleError(
      "there is no set in it; paste the whole output of `ipset save`",
      { file, line: 1, column: 1 },
      lines[0]!,
    );
  }
  return [...sets.values()].map(({ set }) => set);
}

/** The words of a line, one by one. */
class Words {
  readonly #text: string;
  readonly #file: string;
  readonly #line: number;
  #at = 0;
  /** Where the last word begins. */
  #start = 0;

  constructor(text: string, file: string, line: number) {
    this.#text = text;
    this.#file = file;
    this.#line = line;
  }

  /** null behind the last one. Quotes stand around comments. */
  next(): string | null {
    const text = this.#text;
    while (this.#at < text.length && /\s/.test(text[this.#at]!)) this.#at++;
    this.#start = this.#at;
    if (this.#at === text.length) return null;
    if (text[this.#at] === '"') {
      const end = text.indexOf('"', this.#at + 1);
      if (end < 0) this.fail("this quote is not closed on its line");
      this.#at = end + 1;
      return text.slice(this.#start + 1, end);
    }
    while (this.#at < text.length && !/\s/.test(text[this.#at]!)) this.#at++;
    return text.slice(this.#start, this.#at);
  }

  need(what: string): string {
    return this.next() ?? this.fail(`${what} is missing`);
  }

  number(what: string, max: number): number {
    const word = this.need(what);
    return parseNumber(word, max) ?? this.fail(`"${word}" is no ${what}: 0..${max}`);
  }

  fail(reason: string): never {
    const position = { file: this.#file, line: this.#line, column: this.#start + 1 };
    throw new RuleError(reason, position, this.#text, Math.max(1, this.#at - this.#start));
  }
}

interface SetDraft {
  readonly set: IpSet & { readonly elements: SetElement[] };
  /** What its elements are known by -> where they stand. */
  readonly keys: Map<string, number>;
}

const U32_MAX = 0xffffffff;
/** Longest timeout (UINT_MAX / MSEC_PER_SEC). */
const MOST_SECONDS = 2_147_483;
const MAX_ELEMENTS = 65_536;
const NAME_BYTES = 31;
const LIST_SIZE = 8;

function create(words: Words, sets: Map<string, SetDraft>): void {
  const name = words.need("the name of the set");
  if (new TextEncoder().encode(name).length > NAME_BYTES) words.fail(`a name has ${NAME_BYTES} bytes at most`);
  if (sets.has(name)) words.fail(`set ${name} is there already`);
  const typeName = words.need("the type of the set");
  const type = (Object.keys(SET_TYPES) as SetType[]).find((each) => each === typeName);
  if (type === undefined) return words.fail(`"${typeName}" is no type of set: ${Object.keys(SET_TYPES).join(", ")}`);
  const bitmap = type.startsWith("bitmap:");
  let family: 4 | 6 = 4;
  let netmask = U32_MAX;
  let markmask = U32_MAX;
  let timeout: number | null = null;
  let range: Range | null = null;
  let most = type === "list:set" ? LIST_SIZE : MAX_ELEMENTS;
  let counters = false;
  let forceadd = false;
  for (let word = words.next(); word !== null; word = words.next()) {
    switch (word) {
      case "family": {
        const value = words.need("the family");
        if (value !== "inet" && value !== "inet6") words.fail(`"${value}" is no family: inet or inet6`);
        family = value === "inet" ? 4 : 6;
        break;
      }
      case "timeout":
        timeout = words.number("time in seconds", MOST_SECONDS);
        break;
      case "netmask":
      case "bitmask": {
        const value = words.need("the mask");
        const length = parseNumber(value, family === 4 ? 32 : 128);
        const mask = length === null ? parseAddress(value) : length > 32 ? U32_MAX : prefixMask(length);
        if (mask === null || mask === 0) return words.fail(`"${value}" is no mask`);
        netmask = mask;
        break;
      }
      case "markmask":
        markmask = words.number("mask", U32_MAX);
        break;
      case "range": {
        const value = words.need("the range");
        range = type === "bitmap:port" ? readPorts(words, value) : readRange(words, value);
        break;
      }
      case "maxelem":
      case "size":
        most = words.number("number of elements", U32_MAX);
        break;
      case "hashsize":
      case "bucketsize":
      case "probes":
      case "resize":
        words.number("number", U32_MAX);
        break;
      case "initval":
        words.need("the value");
        break;
      case "counters":
        counters = true;
        break;
      case "forceadd":
        forceadd = true;
        break;
      case "comment":
      case "skbinfo":
        break;
      default:
        words.fail(`"${word}" is no option of a set`);
    }
  }
  if (bitmap) checkBitmap(words, type, range, netmask);
  const set = { name, type, family, netmask, markmask, timeout, range, most, counters, forceadd, elements: [] };
  sets.set(name, { set, keys: new Map() });
}

/** bitmap_ip_create(): a bitmap of networks covers a network itself, and none has more than 65,536 bits. */
function checkBitmap(words: Words, type: SetType, range: Range | null, netmask: number): void {
  if (range === null) return words.fail(`a set of type ${type} needs a range`);
  const { lo, hi } = range;
  const span = hi - lo;
  const isNetwork = (span & (span + 1)) === 0 && (lo & span) === 0;
  if (netmask !== U32_MAX && !isNetwork) words.fail("the range of a bitmap with a netmask must be a network");
  if ((span + 1) / ((~netmask >>> 0) + 1) > MAX_ELEMENTS) words.fail(`a bitmap has ${MAX_ELEMENTS} elements at most`);
}

function add(words: Words, sets: ReadonlyMap<string, SetDraft>): void {
  const name = words.need("the name of the set");
  const draft = sets.get(name) ?? words.fail(`there is no set ${name} before this line`);
  const { set, keys } = draft;
  const text = words.need("the element");
  const elements = readElements(words, set, text, sets);
  const { exist, options } = readOptions(words, set);
  if (set.family === 6) return;
  for (const bare of elements) {
    const key = keyOf(bare);
    const known = keys.get(key);
    // written out: of a hundred thousand elements, spreading costs more than all else together
    const { ip, cidr, port, proto, ip2, cidr2, mark, mac, iface, member } = bare;
    const { nomatch, wildcard, timeout, packets, bytes, skbmark } = options;
    const element: SetElement = {
      ip,
      cidr,
      port,
      proto,
      ip2,
      cidr2,
      mark,
      mac,
      iface,
      wildcard,
      member,
      nomatch,
      timeout,
      packets,
      bytes,
      skbmark,
    };
    if (known !== undefined && exist) set.elements[known] = element;
    else if (known !== undefined) words.fail(`${text} is in set ${name} already`);
    else {
      if (set.range === null && keys.size >= set.most) words.fail(`set ${name} is full: it takes ${set.most} elements`);
      keys.set(key, set.elements.push(element) - 1);
    }
  }
}

function keyOf({ ip, cidr, port, proto, ip2, cidr2, mark, mac, iface, member }: Bare): string {
  return [ip, cidr, port, proto, ip2, cidr2, mark, mac, iface, member].join();
}

type Options = Pick<SetElement, "nomatch" | "wildcard" | "timeout" | "packets" | "bytes" | "skbmark">;

/** `exist`: one that is there already is replaced. */
function readOptions(words: Words, set: IpSet): { readonly options: Options; readonly exist: boolean } {
  let exist = false;
  let options: Options = {
    nomatch: false,
    wildcard: false,
    timeout: set.timeout,
    packets: 0n,
    bytes: 0n,
    skbmark: null,
  };
  for (let word = words.next(); word !== null; word = words.next()) {
    switch (word) {
      case "-exist":
      case "-!":
        exist = true;
        break;
      case "nomatch":
        if (!SET_TYPES[set.type].some((part) => part === "net" || part === "net2")) {
          words.fail(`sets of type ${set.type} know no nomatch`);
        }
        options = { ...options, nomatch: true };
        break;
      case "wildcard":
        if (set.type !== "hash:net,iface") words.fail(`sets of type ${set.type} know no wildcard`);
        options = { ...options, wildcard: true };
        break;
      case "timeout":
        if (set.timeout === null) words.fail(`set ${set.name} was created without timeout`);
        options = { ...options, timeout: words.number("time in seconds", MOST_SECONDS) };
        break;
      case "packets":
      case "bytes": {
        if (!set.counters) words.fail(`set ${set.name} was created without counters`);
        const text = words.need("the count");
        options = { ...options, [word]: parseDecimal64(text) ?? words.fail(`"${text}" is no count`) };
        break;
      }
      case "skbmark": {
        const [value = "", mask = "0xffffffff", more] = words.need("the mark").split("/");
        const [v, m] = [parseNumber(value, U32_MAX), parseNumber(mask, U32_MAX)];
        if (v === null || m === null || more !== undefined) return words.fail("a mark is VALUE or VALUE/MASK");
        options = { ...options, skbmark: { value: v, mask: m } };
        break;
      }
      case "comment":
      case "skbprio":
      case "skbqueue":
        words.need(`the value of ${word}`);
        break;
      case "before":
      case "after":
        words.fail(`${word} is no option of \`ipset save\`, which prints members in their order`);
        break;
      default:
        words.fail(`"${word}" is no option of an element`);
    }
  }
  return { options, exist };
}

type Bare = Omit<SetElement, keyof Options>;

const BARE: Bare = { ip: 0, cidr: 0, port: 0, proto: 0, ip2: 0, cidr2: 0, mark: 0, mac: -1, iface: "", member: "" };

/** An element as written may be many: each of its parts may be a range. */
function readElements(words: Words, set: IpSet, text: string, sets: ReadonlyMap<string, SetDraft>): Bare[] {
  const parts = SET_TYPES[set.type];
  const texts = set.type === "list:set" ? [text] : text.split(",");
  // a bitmap:ip,mac may leave the MAC address to the first packet
  const short = set.type === "bitmap:ip,mac" && texts.length === 1;
  if (texts.length !== parts.length && !short) {
    words.fail(
      `an element of type ${set.type} has ${parts.length} part${parts.length === 1 ? "" : "s"}, divided by commas`,
    );
  }
  let elements: Bare[] = [BARE];
  for (const [index, part] of texts.entries()) {
    const values = readPart(words, set, parts[index]!, part, sets);
    if (elements.length * values.length > MOST_WRITTEN_OUT)
      words.fail(`this is more than ${MOST_WRITTEN_OUT} elements`);
    elements = elements.flatMap((element) => values.map((value) => ({ ...element, ...value })));
  }
  return elements;
}

const MOST_WRITTEN_OUT = 4_194_304;

function readPart(
  words: Words,
  set: IpSet,
  part: SetPart,
  text: string,
  sets: ReadonlyMap<string, SetDraft>,
): Partial<Bare>[] {
  switch (part) {
    case "ip":
    case "ip2": {
      if (set.family === 6) return readAddress6(words, text);
      const { lo, hi } = readRange(words, text);
      if (hi - lo >= MOST_WRITTEN_OUT) words.fail(`this is more than ${MOST_WRITTEN_OUT} addresses`);
      const values: Partial<Bare>[] = [];
      const own = part === "ip" ? set.netmask : U32_MAX;
      let last = -1;
      for (let ip = lo; ip <= hi; ip++) {
        const masked = (ip & own) >>> 0;
        if (masked === last) continue;
        last = masked;
        if (masked === 0 && set.type === "hash:ip") words.fail("the address 0.0.0.0 cannot be stored");
        if (set.range !== null && (ip < set.range.lo || ip > set.range.hi))
          words.fail("this is out of the set's range");
        values.push(part === "ip" ? { ip: masked, cidr: 32 } : { ip2: masked, cidr2: 32 });
      }
      return values;
    }
    case "net":
    case "net2": {
      if (set.family === 6) return readAddress6(words, text);
      const networks = text.includes("-") ? networksOf(readRange(words, text)) : [readNetwork(words, text)];
      if (
        networks.some(({ cidr }) => cidr === 0) &&
        set.type !== "hash:net,iface" &&
        part === "net" &&
        set.type !== "hash:net,net"
      ) {
        words.fail("a network of length 0 cannot be stored");
      }
      return networks.map(({ ip, cidr }) => (part === "net" ? { ip, cidr } : { ip2: ip, cidr2: cidr }));
    }
    case "port": {
      if (set.type === "bitmap:port") {
        const { lo, hi } = readPorts(words, text);
        if (lo < set.range!.lo || hi > set.range!.hi) words.fail("this is out of the set's range");
        return Array.from({ length: hi - lo + 1 }, (_, i) => ({ port: lo + i }));
      }
      return readProtoPort(words, text);
    }
    case "mark":
      return [{ mark: ((parseNumber(text, U32_MAX) ?? words.fail(`"${text}" is no mark`)) & set.markmask) >>> 0 }];
    case "mac": {
      const parts = text.split(":");
      if (parts.length !== 6 || !parts.every((each) => /^[0-9a-fA-F]{1,2}$/.test(each))) {
        return words.fail(`"${text}" is no MAC address`);
      }
      const mac = parts.reduce((sum, each) => sum * 256 + parseInt(each, 16), 0);
      return [{ mac: mac === 0 ? words.fail("the MAC address of zeros cannot be stored") : mac }];
    }
    case "iface":
      if (text === "" || text.replace(/^physdev:/, "").length > 15) words.fail(`"${text}" is no interface`);
      return [{ iface: text }];
    case "set": {
      const member = sets.get(text) ?? words.fail(`there is no set ${text} before this line`);
      if (member.set.type === "list:set") words.fail("a list of sets holds no list");
      return [{ member: text }];
    }
  }
}

function readAddress6(words: Words, text: string): Partial<Bare>[] {
  const ends = text.replace(/\/\d+$/, "").split("-");
  if (!ends.every((end) => parseAddress6(end) !== null)) words.fail(`"${text}" is no IPv6 address or network`);
  return [{}];
}

/** `A`, `A-B`, `A/LENGTH`. */
function readRange(words: Words, text: string): Range {
  const dash = text.indexOf("-");
  if (dash >= 0) {
    const [lo, hi] = [parseAddress(text.slice(0, dash)), parseAddress(text.slice(dash + 1))];
    if (lo === null || hi === null) return words.fail(`"${text}" is no range of IPv4 addresses`);
    return lo <= hi ? { lo, hi } : { lo: hi, hi: lo };
  }
  const { ip, cidr } = readNetwork(words, text);
  return { lo: ip, hi: (ip | ~prefixMask(cidr)) >>> 0 };
}

function readNetwork(words: Words, text: string): { ip: number; cidr: number } {
  const slash = text.indexOf("/");
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  const cidr = slash < 0 ? 32 : parseNumber(text.slice(slash + 1), 32);
  if (address === null || cidr === null) return words.fail(`"${text}" is no IPv4 address or network`);
  return { ip: (address & prefixMask(cidr)) >>> 0, cidr };
}

/** The fewest networks that make up the range. */
function networksOf({ lo, hi }: Range): { ip: number; cidr: number }[] {
  const networks: { ip: number; cidr: number }[] = [];
  for (let ip = lo; ip <= hi;) {
    let cidr = 32;
    while (cidr > 0 && ip % 2 ** (33 - cidr) === 0 && ip + 2 ** (33 - cidr) - 1 <= hi) cidr--;
    networks.push({ ip, cidr });
    ip += 2 ** (32 - cidr);
  }
  return networks;
}

function readPort(words: Words, text: string, proto: number): number {
  return parseNumber(text, 65535) ?? servicePort(text, proto) ?? words.fail(`"${text}" is no port`);
}

function readPorts(words: Words, text: string, proto = PROTO_TCP): Range {
  const dash = /^\d+-\d+$/.test(text) ? text.indexOf("-") : -1;
  if (dash < 0) {
    const port = readPort(words, text, proto);
    return { lo: port, hi: port };
  }
  const [a, b] = [readPort(words, text.slice(0, dash), proto), readPort(words, text.slice(dash + 1), proto)];
  return { lo: Math.min(a, b), hi: Math.max(a, b) };
}

/** `PROTO:PORT`, `PORT` of TCP, `icmp:TYPE/CODE` or its name; protocols without ports have port 0. */
function readProtoPort(words: Words, text: string): Partial<Bare>[] {
  const colon = text.indexOf(":");
  const name = colon < 0 ? "tcp" : text.slice(0, colon);
  const rest = text.slice(colon + 1);
  const proto = parseProtocol(name);
  if (proto === null || proto === 0) return words.fail(`"${name}" is no protocol`);
  if (proto !== PROTO_ICMP) {
    const { lo, hi } = readPorts(words, rest, proto);
    return Array.from({ length: hi - lo + 1 }, (_, i) => ({ proto, port: lo + i }));
  }
  const [type, code] =
    /^(\d+)\/(\d+)$/
      .exec(rest)
      ?.slice(1)
      .map((each) => parseNumber(each, 255)) ?? [];
  if (type != null && code != null) return [{ proto, port: (type << 8) | code }];
  const named = ICMP_TYPES.find(([each]) => each === rest)?.[1];
  if (named === undefined) return words.fail(`"${rest}" is no type of ICMP`);
  return [{ proto, port: (named.type << 8) | named.code.lo }];
}
