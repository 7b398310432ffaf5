// One line of a rule file -> words with their places, as iptables-restore cuts them.
//
// Follows add_param_to_argv() in iptables/xshared.c (1.8.9): blanks separate; a double quote may open anywhere in a
// word, and the closing one ends the word; a backslash escapes inside quotes only; single quotes mean nothing.
// Differs: a quote left open is refused; iptables-restore takes the rest of the line, newline included, as the word.

import { RuleError } from "./error.ts";
import type { Family, Position } from "./ruleset.ts";

/** What iptables-restore has room for: characters of a line and of a word, words of a line. */
const LINE_LENGTH = 10_238;
const WORD_LENGTH = 1_023;
const WORD_COUNT = 250;

/** Dashes, quotes, blanks and invisible characters that word processors and web pages put for the plain ones. */
const TYPOGRAPHIC =
  /[\u2010-\u2015\u2212\u2018-\u201f\u00ab\u00bb\u2032\u2033\u00a0\u2000-\u200d\u202f\u2060\u3000\ufeff]/;

/** A shell's prompt with something before it: `-j RETURNuser@host:~$`. */
const GLUED_PROMPT = /[\w.-]+@[\w.-]+(?::\S*|\s+[^\s\]]+\])\s*[$#](?:\s|$)/;

/** Printable ASCII without quotes. */
const PLAIN = /^[ !#-~]*$/;

const NO_HOSTS: ReadonlyMap<string, readonly string[]> = new Map();

/** One line, cut into words. Rules keep its text alone, so that one object can serve line after line. */
export class Line {
  readonly file: string;
  /** From 1. */
  number = 0;
  /** As written, without the line end. */
  text = "";
  /** How many words it has. */
  count = 0;
  private readonly words = new Array<string>(WORD_COUNT).fill("");
  /** Columns, from 0, where a word begins and behind which it ends, quotes included. */
  private readonly starts = new Int32Array(WORD_COUNT);
  private readonly ends = new Int32Array(WORD_COUNT);

  private readonly hosts: ReadonlyMap<string, readonly string[]>;

  /** @param hosts addresses of hosts that the line may name */
  constructor(file: string, hosts: ReadonlyMap<string, readonly string[]> = NO_HOSTS) {
    this.file = file;
    this.hosts = hosts;
  }

  /** The addresses of a host in one family, as they were given; none if they are not known. */
  addressesOf(host: string, family: Family): readonly string[] {
    const addresses = this.hosts.get(host) ?? [];
    return addresses.filter((address) => address.includes(":") === (family === 6));
  }

  /**
   * @param from column, from 0, where the words begin
   * @throws RuleError for an open quote, for typographic and control characters outside quotes, for a prompt behind
   * the rule, and for what is too long
   */
  read(number: number, text: string, from = 0): this {
    this.number = number;
    this.text = text;
    this.count = 0;
    if (text.length > LINE_LENGTH) this.failAt(`a line has ${LINE_LENGTH} characters at most`, 0, 1);
    if (PLAIN.test(text)) this.cutPlain(from);
    else this.cut(from);
    if (text.includes("@")) this.refuseGluedPrompt();
    return this;
  }

  /** From 0; undefined behind the last one. */
  word(index: number): string | undefined {
    return index >= 0 && index < this.count ? this.words[index] : undefined;
  }

  /** The last word that is `word`, or -1. */
  lastIndexOf(word: string): number {
    let index = this.count - 1;
    while (index >= 0 && this.words[index] !== word) index--;
    return index;
  }

  position(column: number): Position {
    return { file: this.file, line: this.number, column: column + 1 };
  }

  /** Of the word with that index, or of the line's beginning. */
  positionOf(word: number): Position {
    return this.position(word < this.count ? this.starts[word]! : 0);
  }

  /** Throws; the caret stands under `length` characters from `column`, which counts from 0. */
  failAt(reason: string, column: number, length: number): never {
    throw new RuleError(reason, this.position(column), this.text, length);
  }

  /** Throws; the caret stands under the word with that index, or behind the line if there is none. */
  fail(reason: string, word: number): never {
    if (word >= this.count) return this.failAt(reason, this.text.trimEnd().length, 1);
    const start = this.starts[word]!;
    return this.failAt(reason, start, this.ends[word]! - start);
  }

  /** As `fail`, with the caret under `part` of the word only. */
  failPart(reason: string, word: number, part: string): never {
    const start = this.starts[word]!;
    const offset = this.text.slice(start, this.ends[word]).lastIndexOf(part);
    return part === "" || offset < 0 ? this.fail(reason, word) : this.failAt(reason, start + offset, part.length);
  }

  /** The quick way for lines with blanks alone between the words. */
  private cutPlain(from: number): void {
    const text = this.text;
    for (let at = from; at < text.length;) {
      let end = text.indexOf(" ", at);
      if (end < 0) end = text.length;
      if (end > at) this.add(text.slice(at, end), at, end);
      at = end + 1;
    }
  }

  private cut(from: number): void {
    const text = this.text;
    const end = text.length;
    let at = from;
    while (at < end) {
      let code = text.charCodeAt(at);
      if (isBlank(code)) {
        at++;
        continue;
      }
      // up to a quote a word is a slice of the line
      const start = at;
      while (at < end && !isBlank(code) && code !== QUOTE) {
        if (code < 32 || code > 126) this.refuseOddCharacter(at);
        code = text.charCodeAt(++at);
      }
      let word = text.slice(start, at);
      if (at < end && code === QUOTE) {
        const closing = this.closingQuote(at);
        word += unescape(text.slice(at + 1, closing));
        at = closing + 1;
      }
      this.add(word, start, at);
    }
  }

  private add(word: string, start: number, end: number): void {
    if (word.length > WORD_LENGTH) this.failAt(`a word has ${WORD_LENGTH} characters at most`, start, 1);
    if (this.count === WORD_COUNT) this.failAt(`a line has ${WORD_COUNT} words at most`, start, end - start);
    this.words[this.count] = word;
    this.starts[this.count] = start;
    this.ends[this.count++] = end;
  }

  private closingQuote(open: number): number {
    for (let at = open + 1; at < this.text.length; at++) {
      const code = this.text.charCodeAt(at);
      if (code === BACKSLASH) at++;
      else if (code === QUOTE) return at;
      else if (code === 0) this.failAt("a NUL character", at, 1);
    }
    return this.failAt("this quote is not closed on its line", open, 1);
  }

  private refuseOddCharacter(at: number): void {
    const code = this.text.charCodeAt(at);
    if (code < 32 || code === 127) this.failAt(`a control character (code ${code})`, at, 1);
    if (!TYPOGRAPHIC.test(this.text[at]!)) return;
    this.failAt("a typographic dash, quote or blank; paste the text as the terminal shows it", at, 1);
  }

  private refuseGluedPrompt(): void {
    const prompt = GLUED_PROMPT.exec(withoutQuoted(this.text));
    if (prompt === null) return;
    this.failAt(
      "a prompt stands behind the rule; paste each listing so that its prompt begins a line of its own",
      prompt.index,
      prompt[0].trimEnd().length,
    );
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function unescape(quoted: string): string {
  return quoted.includes("\\") ? quoted.replace(/\\([^])/g, "$1") : quoted;
}

/** The same text with blanks for what stands in quotes. */
function withoutQuoted(text: string): string {
  return text.replace(/"(?:\\[^]|[^"\\])*"/g, (quoted) => " ".repeat(quoted.length));
}
