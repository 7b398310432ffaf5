// Matches on bytes of the packet: string, u32, bpf.
//
// Follows libxt_string.c, libxt_u32.c and libxt_bpf.c of iptables 1.8.9.

import { faultOf } from "../../net/bpf.ts";
import { parseNumber } from "../../net/number.ts";
import type { Extension, Given } from "../extension.ts";
import type { Line } from "../line.ts";
import { printedExtension } from "../opaque.ts";
import type { BpfInstruction, BpfMatch, Match, OpaqueMatch, StringMatch, U32Match, U32Test } from "../ruleset.ts";
import { hex, oneOf, string as text, u16, U16_MAX, U32_MAX, type Value } from "../types.ts";

const PATTERN_BYTES = 128;

/** `|41 42|C` mixes hexadecimal bytes with text; a backslash takes the next character as it is. */
const hexPattern: Value<readonly number[]> = {
  read(line, word, given) {
    if (!given.includes("|")) line.fail("a --hex-string has bytes between two |: |0d 0a|", word);
    const pattern: number[] = [];
    let inside = false;
    const characters = Array.from(given);
    for (let at = 0; at < characters.length; at++) {
      const character = characters[at]!;
      if (character === "\\" && !inside) pattern.push(...bytesOf(characters[++at] ?? ""));
      else if (character === "|") inside = !inside;
      else if (!inside) pattern.push(...bytesOf(character));
      else if (character !== " ") {
        const byte = character + (characters[++at] ?? "");
        if (!/^[0-9a-fA-F]{2}$/.test(byte)) line.fail(`"${byte}" is no hexadecimal byte`, word);
        pattern.push(parseInt(byte, 16));
      }
    }
    if (inside) line.fail("the bytes between | are not closed", word);
    if (pattern.length > PATTERN_BYTES) line.fail(`a pattern has ${PATTERN_BYTES} bytes at most`, word);
    return pattern;
  },
  print: (pattern) => `"|${pattern.map((byte) => byte.toString(16).padStart(2, "0")).join("")}|"`,
};

const plainPattern: Value<readonly number[]> = {
  read: (line, word, given, family) => bytesOf(text(PATTERN_BYTES).read(line, word, given, family)),
  print: (pattern) => `"${String.fromCharCode(...pattern).replace(/["\\]/g, "\\$&")}"`,
};

function bytesOf(characters: string): readonly number[] {
  return Array.from(new TextEncoder().encode(characters));
}

function patternOf(given: Given): readonly number[] {
  return (
    given.get("string", plainPattern) ??
    given.get("hex-string", hexPattern) ??
    given.fail("string needs --string or --hex-string")
  );
}

const algorithm = oneOf(["bm", "kmp", "fsm"]);

function readString(options: string, given: Given): StringMatch {
  return {
    kind: "string",
    options,
    pattern: patternOf(given),
    algorithm: given.get("algo", algorithm)!,
    from: given.get("from", u16) ?? 0,
    to: given.get("to", u16) ?? U16_MAX,
    anyCase: given.has("icase"),
    negated: given.negated("string") || given.negated("hex-string"),
  };
}

function printString(given: Given): string {
  const { pattern, algorithm, from, to, anyCase, negated } = readString("", given);
  if (from > to) given.fail("--from is behind --to", "from");
  const isText = pattern.every((byte) => byte >= 0x20 && byte <= 0x7e);
  const shown = isText ? `--string ${plainPattern.print(pattern, 4)}` : `--hex-string ${hexPattern.print(pattern, 4)}`;
  return (
    `${negated ? " !" : ""} ${shown} --algo ${algorithm}` +
    (from === 0 ? "" : ` --from ${from}`) +
    (to === U16_MAX ? "" : ` --to ${to}`) +
    (anyCase ? " --icase" : "")
  );
}

const string = printedExtension<StringMatch>(
  {
    name: "string",
    options: [
      { names: "from" },
      { names: "to" },
      { names: "algo", required: true, value: algorithm },
      { names: "string", negatable: true, excludes: "hex-string" },
      { names: "hex-string", negatable: true, excludes: "string" },
      { names: "icase", args: 0 },
    ],
    print: printString,
  },
  readString,
);

const U32_SIZE = 10;

/** `LOCATION = VALUES && ...` */
const u32Tests: Value<readonly U32Test[]> = {
  read: (line, word, given) => given.split("&&").map((test) => readU32Test(line, word, test)),
  print: (tests) => `"${tests.map(printU32Test).join("&&")}"`,
};

function readU32Test(line: Line, word: number, test: string): U32Test {
  const fail = (part: string): never =>
    line.failPart(`"${part}" is no u32 test: START [& MASK, << N, >> N, @ N]=VALUES`, word, part);
  const [location = "", values, more] = test.split("=");
  if (values === undefined || more !== undefined) return fail(test);
  const number = (part: string): number => parseNumber(part.trim(), U32_MAX) ?? fail(part.trim());
  const [start = "", ...rest] = location.split(/(&|<<|>>|@)/);
  const steps: U32Test["steps"][number][] = [];
  for (let i = 0; i < rest.length; i += 2) {
    steps.push({ op: rest[i] as U32Test["steps"][number]["op"], number: number(rest[i + 1]!) });
  }
  if (steps.length >= U32_SIZE) return fail(location);
  const ranges = values.split(",");
  if (ranges.length > U32_SIZE) return fail(values);
  return {
    start: number(start),
    steps,
    ranges: ranges.map((range) => {
      const [lo = "", hi = lo] = range.split(":");
      return { lo: number(lo), hi: number(hi) };
    }),
  };
}

function printU32Test({ start, steps, ranges }: U32Test): string {
  const shown = steps.map(({ op, number }) => `${op}${hex(number)}`).join("");
  const list = ranges.map(({ lo, hi }) => (lo === hi ? hex(lo) : `${hex(lo)}:${hex(hi)}`));
  return `${hex(start)}${shown}=${list.join(",")}`;
}

const u32 = printedExtension<U32Match>(
  { name: "u32", options: [{ names: "u32", negatable: true, required: true, value: u32Tests }] },
  (options, given) => ({
    kind: "u32",
    options,
    tests: given.get("u32", u32Tests)!,
    negated: given.negated("u32"),
  }),
);

const BPF_INSTRUCTIONS = 64;

const bytecode: Value<readonly BpfInstruction[]> = {
  read(line, word, given) {
    const [count = "", ...parts] = given.split(",");
    const instructions = parts.filter((part) => part !== "").map((part) => part.trim());
    const fits = /^\d+$/.test(count.trim()) && Number(count) === instructions.length;
    if (!fits || instructions.length === 0 || instructions.length > BPF_INSTRUCTIONS) {
      return line.fail("the program must be COUNT,CODE JT JF K,... with so many instructions", word);
    }
    return instructions.map((instruction) => {
      const [code, jt, jf, k] = instruction.split(/ +/).map(Number);
      if (!/^\d+ +\d+ +\d+ +\d+$/.test(instruction) || code! > U16_MAX || jt! > 255 || jf! > 255 || k! > U32_MAX)
        return line.failPart(`"${instruction}" is no instruction: CODE JT JF K`, word, instruction);
      return { code: code!, jt: jt!, jf: jf!, k: k! };
    });
  },
  print: (program) =>
    `"${[String(program.length), ...program.map(({ code, jt, jf, k }) => `${code} ${jt} ${jf} ${k}`)].join(",")}"`,
};

const bpf = printedExtension<BpfMatch | OpaqueMatch>(
  {
    name: "bpf",
    options: [
      { names: "bytecode", value: bytecode },
      { names: "object-pinned", value: text() },
    ],
    check(given) {
      const program = given.get("bytecode", bytecode);
      const fault = program === undefined ? null : faultOf(program);
      if (fault !== null) given.fail(fault, "bytecode");
    },
  },
  (options, given) => {
    const program = given.get("bytecode", bytecode);
    // what is pinned is on a machine, not in the text
    return program === undefined ? { kind: "opaque", name: "bpf", options } : { kind: "bpf", options, program };
  },
);

export const MATCHES: readonly Extension<Match>[] = [string, u32, bpf];
