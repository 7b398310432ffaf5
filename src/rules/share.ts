// One object for equal words: rule sets repeat themselves, and 100,000 rules should not hold 100,000 copies of `-i eth0`.
//
// Memory is bounded: what is full forgets all and begins again. All values are immutable.

import type { Extension, Option, Setting } from "./extension.ts";
import type { AddressTest, Header, InterfaceTest } from "./ruleset.ts";

const TEXT_COUNT = 2_000;

/** Values by the text they were read from. */
class ByText<T> {
  private readonly values = new Map<string, T>();

  get(text: string): T | undefined {
    return this.values.get(text);
  }

  set(text: string, value: T): T {
    if (this.values.size >= TEXT_COUNT) this.values.clear();
    this.values.set(text, value);
    return value;
  }
}

/** What modules read, by the one option that they were given. Those with several options are not remembered. */
export class SharedBySetting<T> {
  private readonly bare = new Map<Extension<unknown>, T>();
  private readonly options = new Map<Option, ByText<T>>();

  get(extension: Extension<unknown>, settings: readonly Setting[], read: () => T): T {
    const [setting] = settings;
    if (setting === undefined) {
      const known = this.bare.get(extension);
      if (known !== undefined) return known;
      const value = read();
      this.bare.set(extension, value);
      return value;
    }
    if (settings.length > 1 || setting.negated || setting.second !== "") return read();
    let values = this.options.get(setting.option);
    if (values === undefined) this.options.set(setting.option, (values = new ByText()));
    const key =
      extension.asksProto === true ? `${setting.argument} ${setting.proto} ${setting.protoNegated}` : setting.argument;
    return values.get(key) ?? values.set(key, read());
  }
}

const plainInterfaces = new ByText<InterfaceTest>();
const negatedInterfaces = new ByText<InterfaceTest>();

export function sharedInterface(text: string, negated: boolean, read: () => InterfaceTest): InterfaceTest {
  const values = negated ? negatedInterfaces : plainInterfaces;
  return values.get(text) ?? values.set(text, read());
}

const PROTO_TESTS = [false, true].map((negated) => Array.from({ length: 256 }, (_, proto) => ({ proto, negated })));

/** null for 0, any protocol. */
export function sharedProto(proto: number, negated: boolean): Header["proto"] {
  return proto === 0 ? null : PROTO_TESTS[negated ? 1 : 0]![proto]!;
}

const FRAGMENT_TESTS = [{ negated: false }, { negated: true }] as const;

export function sharedFragment(negated: boolean): Header["fragment"] {
  return FRAGMENT_TESTS[negated ? 1 : 0];
}

/** The last address tests made, each at the place that its numbers give it. */
const SLOT_COUNT = 4096;
const slots = new Array<AddressTest | undefined>(SLOT_COUNT).fill(undefined);

/** null for `0.0.0.0/0`, which tests nothing. */
export function sharedAddress(address: number, mask: number, negated: boolean): AddressTest | null {
  if (mask === 0 && !negated) return null;
  const slot = (Math.imul(address ^ mask, 0x9e3779b1) >>> 16) % SLOT_COUNT;
  const known = slots[slot];
  if (known?.address === address && known.mask === mask && known.negated === negated) return known;
  return (slots[slot] = { address, mask, negated });
}

const EMPTY_HEADER: Header = {
  src: null,
  dst: null,
  v6: null,
  inIface: null,
  outIface: null,
  proto: null,
  fragment: null,
};
let lastHeader = EMPTY_HEADER;

/** Rules in a row often ask the same. */
export function sharedHeader(
  src: AddressTest | null,
  dst: AddressTest | null,
  v6: Header["v6"],
  inIface: InterfaceTest | null,
  outIface: InterfaceTest | null,
  proto: Header["proto"],
  fragment: Header["fragment"],
): Header {
  if (!src && !dst && !v6 && !inIface && !outIface && !proto && !fragment) return EMPTY_HEADER;
  const last = lastHeader;
  const same =
    last.src === src &&
    last.dst === dst &&
    last.v6 === v6 &&
    last.inIface === inIface &&
    last.outIface === outIface &&
    last.proto === proto &&
    last.fragment === fragment;
  return same ? last : (lastHeader = { src, dst, v6, inIface, outIface, proto, fragment });
}
