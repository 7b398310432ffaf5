// Strings and objects of HOST.json -> the words of `ip address add`, `ip route add` and `ip rule add`, read one by one.
//
// An object stands for its words: `{"dst": "10.0.0.0/8", "dev": "eth1"}` is `10.0.0.0/8 dev eth1`. Numbers as in
// iproute2 (get_unsigned() and get_prefix_1() in lib/utils.c): decimal, octal or hexadecimal, short addresses.

import { parseMask, parseNetwork, prefixLength } from "../net/address.ts";
import { parseNumber } from "../net/number.ts";
import type { Field } from "./field.ts";

export interface Prefix {
  readonly address: number;
  readonly prefixLength: number;
}

export class Words {
  readonly #whole: Field;
  readonly #words: readonly { readonly text: string; readonly field: Field }[];
  #next = 0;

  /** @param keys the words an object may have as keys, in their order @param bare those of them that are not written */
  constructor(field: Field, keys: readonly string[], bare: readonly string[]) {
    this.#whole = field;
    this.#words = field.json.kind === "string" ? fromString(field) : fromObject(field, keys, bare);
  }

  /** The next word, which stays; "" at the end. */
  peek(): string {
    return this.#words[this.#next]?.text ?? "";
  }

  /** The next word, for a `what`. */
  take(what: string): string {
    const word = this.#words[this.#next];
    if (word === undefined) return this.#whole.fail(`${what} is missing at the end`);
    this.#next++;
    return word.text;
  }

  /** Steps over the next word if it is this one. */
  sees(...words: readonly string[]): boolean {
    if (!words.includes(this.peek())) return false;
    this.#next++;
    return true;
  }

  atEnd(): boolean {
    return this.#next === this.#words.length;
  }

  /** About the word taken last. */
  fail(reason: string): never {
    return (this.#words[Math.max(0, this.#next - 1)]?.field ?? this.#whole).fail(reason);
  }

  number(what: string, max: number): number {
    const text = this.take(what);
    return parseNumber(text, max) ?? this.fail(`${what} "${text}": a number from 0 to ${max} is wanted`);
  }

  address(what: string): number {
    const text = this.take(what);
    this.#refuseIpv6(text);
    return parseNetwork(text) ?? this.fail(`${what} "${text}" is no IPv4 address`);
  }

  /** `default`, `any` and `all` are everything; without a length one address. */
  prefix(what: string): Prefix {
    const text = this.take(what);
    this.#refuseIpv6(text);
    if (["default", "any", "all"].includes(text)) return { address: 0, prefixLength: 0 };
    const [left, right, ...more] = text.split("/");
    const address = parseNetwork(left!);
    if (address === null || more.length > 0) return this.fail(`${what} "${text}" is no IPv4 address or prefix`);
    if (right === undefined) return { address, prefixLength: 32 };
    const mask = parseMask(right);
    const length = mask === null ? null : prefixLength(mask);
    if (length === null) return this.fail(`${what} "${text}": the prefix length is a number from 0 to 32`);
    return { address, prefixLength: length };
  }

  #refuseIpv6(text: string): void {
    if (text.includes(":") || text === "inet6") this.fail(`"${text}": IPv6 is not modelled`);
  }
}

function fromString(field: Field): { text: string; field: Field }[] {
  return field
    .string()
    .split(/\s+/)
    .filter((text) => text !== "")
    .map((text) => ({ text, field }));
}

function fromObject(whole: Field, keys: readonly string[], bare: readonly string[]): { text: string; field: Field }[] {
  if (whole.json.kind !== "object") return whole.fail("a string or an object is wanted");
  const members = whole.membersOf(keys);
  return keys.flatMap((key) => {
    const field = members.get(key);
    if (field === undefined) return [];
    const { json } = field;
    // a flag such as onlink
    if (json.kind === "boolean" && json.value) return [{ text: key, field }];
    if (json.kind !== "string" && json.kind !== "number") return field.fail("a string or a number is wanted");
    const words = [{ text: String(json.value), field }];
    return bare.includes(key) ? words : [{ text: key, field }, ...words];
  });
}
