// JSON text -> values that know where they stand, so that an error about one can name its line.
//
// RFC 8259, with two rules more: a name stands once in an object, and nesting ends at DEEPEST.

export type Json =
  | { readonly kind: "object"; readonly members: ReadonlyMap<string, Json>; readonly offset: number }
  | { readonly kind: "array"; readonly items: readonly Json[]; readonly offset: number }
  | { readonly kind: "string"; readonly value: string; readonly offset: number }
  | { readonly kind: "number"; readonly value: number; readonly offset: number }
  | { readonly kind: "boolean"; readonly value: boolean; readonly offset: number }
  | { readonly kind: "null"; readonly offset: number };

/** Text that is no JSON. */
export class JsonError extends Error {
  override readonly name = "JsonError";
  readonly offset: number;

  constructor(reason: string, offset: number) {
    super(reason);
    this.offset = offset;
  }
}

/** Throws JsonError. */
export function parseJson(text: string): Json {
  return new Reader(text).whole();
}

/** Line and column, both from 1, of an offset in the text. */
export function placeOf(text: string, offset: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, offset);
  return { line: before.split("\n").length, column: offset - before.lastIndexOf("\n") };
}

const DEEPEST = 64;
const SPACE = /[ \t\r\n]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
// everything but quotes, backslashes and control characters, and escapes of all kinds
// eslint-disable-next-line no-control-regex
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;

class Reader {
  readonly #text: string;
  #offset = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Json {
    const value = this.#value(0);
    this.#take(SPACE);
    if (this.#offset < this.#text.length) this.#fail("nothing may follow the value");
    return value;
  }

  #value(depth: number): Json {
    this.#take(SPACE);
    const offset = this.#offset;
    if (depth > DEEPEST) this.#fail("nested too deep");
    switch (this.#text[offset]) {
      case "{":
        return this.#object(depth, offset);
      case "[":
        return this.#array(depth, offset);
      case '"':
        return { kind: "string", value: this.#string(), offset };
      case undefined:
        return this.#fail("the text ends too early");
    }
    for (const [word, json] of [
      ["true", { kind: "boolean", value: true, offset }],
      ["false", { kind: "boolean", value: false, offset }],
      ["null", { kind: "null", offset }],
    ] as const) {
      if (this.#text.startsWith(word, offset)) {
        this.#offset += word.length;
        return json;
      }
    }
    const number = this.#take(NUMBER);
    if (number === "") this.#fail("a value was expected: an object, array, string, number, true, false or null");
    return { kind: "number", value: Number(number), offset };
  }

  #object(depth: number, offset: number): Json {
    const members = new Map<string, Json>();
    this.#offset++;
    if (this.#sees("}")) return { kind: "object", members, offset };
    do {
      this.#take(SPACE);
      const start = this.#offset;
      if (this.#text[start] !== '"') this.#fail('a name in quotes was expected, or "}"');
      const name = this.#string();
      if (members.has(name)) throw new JsonError(`the key ${JSON.stringify(name)} stands here twice`, start);
      if (!this.#sees(":")) this.#fail('":" was expected');
      members.set(name, this.#value(depth + 1));
    } while (this.#sees(","));
    if (!this.#sees("}")) this.#fail('"," or "}" was expected');
    return { kind: "object", members, offset };
  }

  #array(depth: number, offset: number): Json {
    const items: Json[] = [];
    this.#offset++;
    if (this.#sees("]")) return { kind: "array", items, offset };
    do items.push(this.#value(depth + 1));
    while (this.#sees(","));
    if (!this.#sees("]")) this.#fail('"," or "]" was expected');
    return { kind: "array", items, offset };
  }

  #string(): string {
    const literal = this.#take(STRING);
    if (literal === "") this.#fail("a string that does not end on its line, or with an escape that JSON does not know");
    return JSON.parse(literal) as string;
  }

  /** Steps over the character, and blanks before it, if it comes next. */
  #sees(character: string): boolean {
    this.#take(SPACE);
    if (this.#text[this.#offset] !== character) return false;
    this.#offset++;
    return true;
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#offset;
    const taken = pattern.exec(this.#text)?.[0] ?? "";
    this.#offset += taken.length;
    return taken;
  }

  #fail(reason: string): never {
    throw new JsonError(reason, this.#offset);
  }
}
