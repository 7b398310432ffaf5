// The words of a line are those of iptables-restore: add_param_to_argv() in iptables/xshared.c.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Line } from "../src/rules/line.ts";
import { refusedIn } from "./support/rule-text.ts";

function words(text: string): (string | undefined)[] {
  const line = new Line("test").read(1, text);
  return Array.from({ length: line.count }, (_, index) => line.word(index));
}

test("blanks and tabs separate words", () => {
  assert.deepEqual(words("  -A\tINPUT   -j ACCEPT  "), ["-A", "INPUT", "-j", "ACCEPT"]);
});

test("a quote may open within a word, and the closing one ends it", () => {
  assert.deepEqual(words('a"b c" "d"e'), ["ab c", "d", "e"]);
});

test("an empty pair of quotes is a word", () => {
  assert.deepEqual(words('--comment "" -j'), ["--comment", "", "-j"]);
});

test("a backslash escapes within quotes only", () => {
  assert.deepEqual(words(String.raw`"it\'s \"so\" \\ \n" a\b`), [String.raw`it's "so" \ n`, String.raw`a\b`]);
});

test("single quotes mean nothing", () => {
  assert.deepEqual(words("'a b'"), ["'a", "b'"]);
});

test("an open quote is refused at the quote", () => {
  const text = '-A INPUT -m comment --comment "a b -j ACCEPT';
  assert.equal(refusedIn(text), '2:31 ": this quote is not closed on its line');
});

test("typographic dashes, quotes and blanks are refused outside quotes and kept within", () => {
  assert.match(refusedIn("-A INPUT \u2013j ACCEPT"), /^2:10 \u2013: a typographic dash/);
  assert.match(refusedIn("-A INPUT -m comment --comment \u201cx\u201d"), /^2:31 \u201c: a typographic/);
  assert.match(refusedIn("-A INPUT\u00a0-j ACCEPT"), /^2:9 \u00a0: a typographic/);
  assert.deepEqual(words('"\u2013"'), ["\u2013"]);
});

test("control characters are refused", () => {
  assert.equal(refusedIn("-A INPUT -i et\u0001h"), "2:15 \u0001: a control character (code 1)");
  assert.equal(refusedIn('-A INPUT -m comment --comment "a\0b"'), "2:33 \0: a NUL character");
});

test("what iptables-restore has no room for is refused", () => {
  assert.match(refusedIn(`-A INPUT -m comment --comment ${"x".repeat(1024)}`), /a word has 1023 characters at most/);
  assert.match(refusedIn(`-A INPUT ${"-v ".repeat(250)}`), /a line has 250 words at most/);
  assert.match(
    refusedIn(`-A INPUT -m comment --comment "${"x ".repeat(6000)}"`),
    /a line has 10238 characters at most/,
  );
});
