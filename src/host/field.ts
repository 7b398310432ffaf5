// JSON values -> plain values of the kind asked for; whatever is odd is an error that names the key.

import type { Json } from "./json.ts";

/** Throws the error of whoever reads: `key` as in `routes[0].via`, `offset` into the text. */
export type Fail = (reason: string, key: string, offset: number) => never;

/** A value in its place. */
export class Field {
  readonly json: Json;
  /** What it is part of; null for the whole. */
  readonly #parent: Field | null;
  /** Its name or `[index]` there. */
  readonly #name: string;
  readonly #fail: Fail;

  constructor(json: Json, fail: Fail, parent: Field | null = null, name = "") {
    this.json = json;
    this.#fail = fail;
    this.#parent = parent;
    this.#name = name;
  }

  /** As in `routes[0].via`; empty for the whole. */
  get key(): string {
    const before = this.#parent?.key ?? "";
    return before === "" || this.#name.startsWith("[") ? before + this.#name : `${before}.${this.#name}`;
  }

  fail(reason: string): never {
    return this.#fail(reason, this.key, this.json.offset);
  }

  string(): string {
    if (this.json.kind !== "string") return this.fail("a string is wanted");
    return this.json.value;
  }

  boolean(): boolean {
    if (this.json.kind !== "boolean") return this.fail("true or false is wanted");
    return this.json.value;
  }

  /** A whole number; both bounds are allowed. */
  integer(lo: number, hi: number): number {
    const { json } = this;
    if (json.kind !== "number" || !Number.isInteger(json.value) || json.value < lo || json.value > hi) {
      return this.fail(`a whole number from ${lo} to ${hi} is wanted`);
    }
    return json.value;
  }

  items(): readonly Field[] {
    if (this.json.kind !== "array") return this.fail("an array is wanted");
    return this.json.items.map((item, index) => new Field(item, this.#fail, this, `[${index}]`));
  }

  /** The members in the order written; any name is allowed. */
  members(): ReadonlyMap<string, Field> {
    if (this.json.kind !== "object") return this.fail("an object is wanted");
    const members = new Map<string, Field>();
    for (const [name, json] of this.json.members) {
      members.set(name, new Field(json, this.#fail, this, name));
    }
    return members;
  }

  /** The members; other names than these are errors. */
  membersOf<Name extends string>(names: readonly Name[]): ReadonlyMap<Name, Field> {
    const members = this.members();
    for (const [name, member] of members) {
      if (!(names as readonly string[]).includes(name)) {
        return member.fail(`unknown key; known are ${names.join(", ")}`);
      }
    }
    return members as ReadonlyMap<Name, Field>;
  }
}
