// Matches on bytes of the packet: string, u32, bpf.
//
// Follows libxt_string.c, libxt_u32.c and libxt_bpf.c of iptables 1.8.9.

import { parseNumber } from "../../net/number.ts";
import type { Extension, Given } from "../extension.ts";
import type { Line } from "../line.ts";
import { opaqueMatch } from "../opaque.ts";
import type { Match } from "../ruleset.ts";
import { hex, oneOf, string as text, u16, U16_MAX, U32_MAX, type Value } from "../types.ts";

const PATTERN_BYTES = 128;
const PRINTABLE = /^[\x20-\x7e]*$/;

/** `|41 42|C` mixes hexadecimal bytes with text; a backslash takes the next character as it is. Gives characters 0..255. */
const hexPattern: Value<string> = {
  read(line, word, given) {
    if (!given.includes("|")) line.fail("a --hex-string has bytes between two |: |0d 0a|", word);
    let pattern = "";
    let inside = false;
    for (let at = 0; at < given.length; at++) {
      if (given[at] === "\\" && !inside) pattern += given[++at] ?? "";
      else if (given[at] === "|") inside = !inside;
      else if (!inside) pattern += given[at]!;
      else if (given[at] !== " ") {
        const byte = given.slice(at, at + 2);
        if (!/^[0-9a-fA-F]{2}$/.test(byte)) line.fail(`"${byte}" is no hexadecimal byte`, word);
        pattern += String.fromCharCode(parseInt(byte, 16));
        at++;
      }
    }
    if (inside) line.fail("the bytes between | are not closed", word);
    if (pattern.length > PATTERN_BYTES) line.fail(`a pattern has ${PATTERN_BYTES} bytes at most`, word);
    return pattern;
  },
  print: (pattern) => pattern,
};

function printString(given: Given): string {
  const plain = given.get("string", text(PATTERN_BYTES));
  const pattern = plain ?? given.get("hex-string", hexPattern) ?? given.fail("string needs --string or --hex-string");
  const negated = given.negated("string") || given.negated("hex-string") ? " !" : "";
  const bytes =
    plain === undefined
      ? pattern
      : Array.from(new TextEncoder().encode(pattern), (c) => String.fromCharCode(c)).join("");
  const from = given.get("from", u16) ?? 0;
  const to = given.get("to", u16) ?? U16_MAX;
  const shown = PRINTABLE.test(bytes)
    ? `--string "${bytes.replace(/["\\]/g, "\\$&")}"`
    : `--hex-string "|${Array.from(bytes, (c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("")}|"`;
  return (
    `${negated} ${shown} --algo ${given.need("algo").argument}` +
    (from === 0 ? "" : ` --from ${from}`) +
    (to === U16_MAX ? "" : ` --to ${to}`) +
    (given.has("icase") ? " --icase" : "")
  );
}

const string = opaqueMatch({
  name: "string",
  options: [
    { names: "from" },
    { names: "to" },
    { names: "algo", required: true, value: oneOf(["bm", "kmp", "fsm"]) },
    { names: "string", negatable: true, excludes: "hex-string" },
    { names: "hex-string", negatable: true, excludes: "string" },
    { names: "icase", args: 0 },
  ],
  print: printString,
});

const U32_SIZE = 10;

/** `LOCATION = VALUES && ...`; gives it as it is printed. */
const u32Tests: Value<string> = {
  read: (line, word, given) =>
    given
      .split("&&")
      .map((test) => readU32Test(line, word, test))
      .join("&&"),
  print: (tests) => `"${tests}"`,
};

function readU32Test(line: Line, word: number, test: string): string {
  const fail = (part: string): never =>
    line.failPart(`"${part}" is no u32 test: START [& MASK, << N, >> N, @ N]=VALUES`, word, part);
  const [location = "", values, more] = test.split("=");
  if (values === undefined || more !== undefined) return fail(test);
  const number = (part: string): string => {
    const value = parseNumber(part.trim(), U32_MAX);
    return value === null ? fail(part.trim()) : hex(value);
  };
  const steps = location.split(/(&|<<|>>|@)/);
  if (steps.length > 2 * U32_SIZE) return fail(location);
  const shown = steps.map((step, i) => (i % 2 === 0 ? number(step) : step)).join("");
  const ranges = values.split(",");
  if (ranges.length > U32_SIZE) return fail(values);
  const list = ranges.map((range) => {
    const [lo = "", hi = lo] = range.split(":");
    const [low, high] = [number(lo), number(hi)];
    return low === high ? low : `${low}:${high}`;
  });
  return `${shown}=${list.join(",")}`;
}

const u32 = opaqueMatch({
  name: "u32",
  options: [{ names: "u32", negatable: true, required: true, value: u32Tests }],
});

const BPF_INSTRUCTIONS = 64;

const bytecode: Value<string> = {
  read(line, word, given) {
    const [count = "", ...parts] = given.split(",");
    const instructions = parts.filter((part) => part !== "").map((part) => part.trim());
    const fits = /^\d+$/.test(count.trim()) && Number(count) === instructions.length;
    if (!fits || instructions.length === 0 || instructions.length > BPF_INSTRUCTIONS) {
      return line.fail("the program must be COUNT,CODE JT JF K,... with so many instructions", word);
    }
    for (const instruction of instructions) {
      if (!/^\d+ +\d+ +\d+ +\d+$/.test(instruction))
        line.failPart(`"${instruction}" is no instruction: CODE JT JF K`, word, instruction);
    }
    return [String(instructions.length), ...instructions.map((each) => each.split(/ +/).map(Number).join(" "))].join(
      ",",
    );
  },
  print: (program) => `"${program}"`,
};

const bpf = opaqueMatch({
  name: "bpf",
  options: [
    { names: "bytecode", value: bytecode },
    { names: "object-pinned", value: text() },
  ],
});

export const MATCHES: readonly Extension<Match>[] = [string, u32, bpf];
