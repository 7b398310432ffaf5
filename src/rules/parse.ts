// Text -> Ruleset: the output of iptables-save, that of `iptables -S`, or a terminal transcript of such commands.
//
// One pass over the lines; each line is a rule, or stands for something that is known to be none, or is refused.
// What iptables-restore takes is in iptables/iptables-restore.c (1.8.9), what the kernel refuses of it in check.ts.
// Differs: trailing blanks, CRLF, a byte order mark and code fences are accepted; a table or chain given twice is not.

import { checkTable } from "./check.ts";
import { readCommand } from "./command.ts";
import { RuleError } from "./error.ts";
import { Line } from "./line.ts";
import { familyOf } from "./family.ts";
import type { Counters, Family, Position, Ruleset, Table, TableName } from "./ruleset.ts";
import { parseCounters, readChain, readTableName } from "./save.ts";
import { TableDraft } from "./table.ts";
import { isHash, outputOf, readPrompt, USE_LISTING, type Prompt } from "./transcript.ts";

export interface ParseOptions {
  /** Name of the input in positions and errors. */
  readonly file: string;
  /** The table of a bare `iptables -S` listing: filter if left out. Input that names its tables must name this one. */
  readonly table?: TableName;
  /** Left out: what the text and the name of the file tell. */
  readonly family?: Family;
  /** Addresses of hosts that rules may name; others are refused. */
  readonly hosts?: ReadonlyMap<string, readonly string[]>;
  /** Told now and then how many characters have been read. */
  readonly progress?: (read: number) => void;
}

/** Throws RuleError for whatever cannot be honoured exactly. */
export function parseRuleset(text: string, options: ParseOptions): Ruleset {
  return new Reader(text, options).read();
}

/** One rule set of all tables. Throws RuleError if a table stands in two of them. */
export function mergeRulesets(rulesets: readonly Ruleset[]): Ruleset {
  const tables: Table[] = [];
  for (const table of rulesets.flatMap((ruleset) => ruleset.tables)) {
    refuseTwice(tables, table.name, table.position, beginnings.get(table) ?? `*${table.name}`);
    tables.push(table);
  }
  const family = rulesets[0]?.family ?? 4;
  const other = rulesets.find((ruleset) => ruleset.family !== family)?.tables[0];
  if (other !== undefined) {
    const text = beginnings.get(other) ?? `*${other.name}`;
    const reason = `these rules are of IPv${family === 4 ? 6 : 4}, those before of IPv${family}: run them apart`;
    throw new RuleError(reason, other.position, text);
  }
  return { family, tables, notes: rulesets.flatMap((ruleset) => ruleset.notes) };
}

function refuseTwice(tables: readonly Table[], name: TableName, position: Position, text: string): void {
  const first = tables.find((table) => table.name === name);
  if (first === undefined) return;
  const place = `${first.position.file}:${first.position.line}`;
  const length = text.trimEnd().length - position.column + 1;
  throw new RuleError(`table ${name} stands twice, first in ${place}`, position, text, length);
}

/** The line in which each table begins, for errors. */
const beginnings = new WeakMap<Table, string>();

/** What the lines are part of. */
type Section = "start" | "save" | "table" | "listing" | "other";

class Reader {
  private readonly file: string;
  private readonly family: Family;
  private readonly table: TableName | undefined;
  private readonly text: string;
  private readonly line: Line;
  private readonly tables: Table[] = [];
  private readonly notes: string[] = [];
  private readonly progress: ((read: number) => void) | undefined;

  /** The line that is being read, from 1, and whether it lacks a newline. */
  private number = 0;
  private unended = false;
  private section: Section = "start";
  /** The table of section "table" or "listing", and the line where it begins. */
  private draft: TableDraft | null = null;
  private beginning = "";
  /** Of the present section, and the line with it; of a listing only until something follows. */
  private prompt: Prompt | null = null;
  private promptText = "";
  private readonly knownPrompts = new Set<string>();

  constructor(text: string, options: ParseOptions) {
    this.file = options.file;
    this.family = options.family ?? familyOf(text, options.file);
    this.table = options.table;
    this.text = text.startsWith("\ufeff") ? text.slice(1) : text;
    this.line = new Line(options.file, options.hosts);
    this.progress = options.progress;
  }

  read(): Ruleset {
    const { text } = this;
    let last = "";
    let lastNumber = 1;
    for (let start = 0, end = 0, number = 1; end < text.length; start = end + 1, number++) {
      end = text.indexOf("\n", start);
      this.unended = end < 0;
      if (end < 0) end = text.length;
      // a carriage return belongs to the line end
      const line = text.slice(start, end > start && text.charCodeAt(end - 1) === RETURN ? end - 1 : end);
      if (isEmpty(line)) continue;
      this.number = lastNumber = number;
      last = line;
      this.readLine(line);
      if (number % LINES_A_STEP === 0) this.progress?.(end);
    }
    this.number = lastNumber;
    this.endSection(last);
    if (this.tables.length === 0) this.fail(last, `no rules here; ${USE_LISTING}`);
    return { family: this.family, tables: this.tables, notes: this.notes };
  }

  private readLine(text: string): void {
    const first = text.charCodeAt(0);
    // first what is most frequent
    if (first === DASH && this.draft !== null) this.readRule(text, 0, null);
    else if (FENCE.test(text)) return;
    else if (!this.readPrompt(text)) this.readSection(text, first);
  }

  /** A line that is neither a rule of an open table nor a prompt. */
  private readSection(text: string, first: number): void {
    if (LIST_OUTPUT.test(text)) this.fail(text, `this is output of \`iptables -L\`; ${USE_LISTING}`);
    if (this.section === "other") this.leaveOut(text);
    else if (first === HASH) this.readComment(text);
    else if (this.section === "start") this.readFirst(text, first);
    else if (this.section === "table") this.readInside(text, first);
    else if (PASSWORD.test(text)) return;
    else if (this.section === "save") this.beginTable(readTableName(this.cut(text)), this.position(0), text, "table");
    else this.readListing(text, first);
  }

  /** The first line of a text without prompts, or before the first of them. */
  private readFirst(text: string, first: number): void {
    if (first === STAR) {
      this.beginTable(readTableName(this.cut(text)), this.position(0), text, "table");
      return;
    }
    if (text.trimStart().startsWith("-")) {
      this.beginTable(this.table ?? "filter", this.position(0), text, "listing");
      this.readRule(text, 0, null);
      return;
    }
    // typographic dashes have their own sentence
    this.cut(text);
    if (text.startsWith("@")) this.fail(text, "this is a rule of a ClassBench filter set, not of iptables");
    if (/^(?:[:[]|COMMIT)/.test(text)) this.fail(text, "this must stand in a table: `*TABLE` begins one");
    this.fail(text, `this is no rule; ${USE_LISTING}`);
  }

  // -- transcripts

  /** False if the line is no prompt. */
  private readPrompt(text: string): boolean {
    // within a table of iptables-save a # is a comment
    if (this.section === "table" && text.charCodeAt(0) === HASH) return false;
    const prompt = readPrompt(text, this.knownPrompts);
    if (prompt === null) return false;
    this.endSection(text);
    this.prompt = prompt;
    this.promptText = text;
    this.section = "other";
    if (prompt.command !== "") this.beginOutput(text, prompt);
    return true;
  }

  private beginOutput(text: string, prompt: Prompt): void {
    const output = outputOf(prompt.command);
    // after `# iptables -S` another # is a prompt, after `# iptables-save` it may be a comment of the dump
    if (!isHash(prompt) || output.kind === "listing") this.knownPrompts.add(prompt.prompt);
    switch (output.kind) {
      case "refused":
        return this.failAtCommand(output.reason);
      case "save":
        this.section = "save";
        return;
      case "listing":
        this.beginTable(output.table, this.position(prompt.column), text, "listing");
        return;
      case "other": {
        const changed = this.tables.find(({ name }) => output.changes === "all" || output.changes === name);
        if (changed !== undefined) {
          this.failAtCommand(
            `this may change table ${changed.name}, listed before in line ${changed.position.line}; list it again`,
          );
        }
        this.note(`\`${prompt.command}\` lists no rules; it and its output are left out`);
      }
    }
  }

  /** A line of another command's output. */
  private leaveOut(text: string): void {
    const command = this.prompt?.command ?? "";
    if (command === "") this.fail(text, "this stands behind a prompt without a command");
    if (RULE_LIKE.test(text)) {
      this.fail(text, `this looks like a rule, but stands in the output of \`${command}\`, which lists none`);
    }
  }

  private readListing(text: string, first: number): void {
    if (first === STAR && this.prompt !== null && isHash(this.prompt)) {
      // what looked like a prompt was a comment in front of a dump
      this.draft = null;
      this.beginTable(readTableName(this.cut(text)), this.position(0), text, "table");
      return;
    }
    if (first === STAR || first === COLON) {
      this.fail(text, "a line of iptables-save in a listing of `iptables -S`; paste one of the two");
    }
    this.readRule(text, 0, null);
  }

  // -- iptables-save

  private readInside(text: string, first: number): void {
    const draft = this.draft!;
    const { line } = this;
    if (first === COLON) {
      line.read(this.number, text, 1);
      if (!readChain(line, draft)) this.note("what stands behind the - is not read");
      return;
    }
    if (first === BRACKET) {
      const end = text.indexOf("]") + 1;
      const counters = parseCounters(text.slice(0, end));
      if (counters === null) this.fail(text, "counters are written [PACKETS:BYTES]");
      this.readRule(text, end, counters);
      return;
    }
    if (first === STAR) {
      this.fail(text, `table ${draft.name} of line ${draft.position.line} has no COMMIT before this line`);
    }
    if (text.trimEnd() !== "COMMIT") {
      this.readRule(text, 0, null);
      return;
    }
    this.endTable();
    this.section = "save";
    if (this.unended) this.note("no newline behind the last COMMIT; iptables-restore would refuse the file");
  }

  private readComment(text: string): void {
    const other = /^# Generated by ((?:arp|eb)tables)/.exec(text)?.[1];
    if (other !== undefined) this.fail(text, `these are rules of ${other}, which is not iptables`);
    if (text.startsWith("# Warning:")) this.note(text.slice(2).trimEnd());
  }

  // -- tables

  private readRule(text: string, column: number, counters: Counters | null): void {
    const draft = this.draft!;
    const line = this.line.read(this.number, text, column);
    if (line.count === 0) line.failAt("counters without a rule", 0, column);
    const command = readCommand(line, draft.scope, counters);
    if (command.action.kind === "skip") this.note(`left out, for IPv${this.family === 4 ? 6 : 4} alone`);
    draft.apply(line, command);
    this.prompt = null;
  }

  private beginTable(name: TableName, position: Position, text: string, section: "table" | "listing"): void {
    // what looks like the prompt of a listing may turn out to be a comment
    const sure = section === "table" || this.prompt === null || !isHash(this.prompt);
    if (sure) this.refuseTable(name, position, text);
    const assumed = section === "listing" && this.prompt === null && this.table === undefined;
    this.draft = new TableDraft(name, this.family, position, assumed);
    this.beginning = text;
    this.section = section;
  }

  private refuseTable(name: TableName, position: Position, text: string): void {
    refuseTwice(this.tables, name, position, text);
    if (this.table === undefined || this.table === name) return;
    const reason = `this is table ${name}, where ${this.table} alone is asked for`;
    throw new RuleError(reason, position, text, text.trimEnd().length - position.column + 1);
  }

  private endTable(): void {
    const draft = this.draft!;
    this.refuseTable(draft.name, draft.position, this.beginning);
    const table = draft.finish();
    checkTable(table, this.family, draft.idleTests);
    beginnings.set(table, this.beginning);
    this.tables.push(table);
    this.draft = null;
  }

  /** @param text the line that ends it, or the last one */
  private endSection(text: string): void {
    const { draft, prompt, section } = this;
    if (draft === null) return;
    if (section === "table") this.fail(text, `table ${draft.name} of line ${draft.position.line} has no COMMIT`);
    if (prompt === null) {
      this.endTable();
      return;
    }
    // nothing stands behind the prompt: perhaps it was none
    const comment = isHash(prompt) && this.knownPrompts.size === 1 && this.tables.length > 0;
    if (!comment) this.failAtCommand("the output of this command is missing", draft.position.line);
    this.draft = null;
  }

  // -- notes and errors

  private cut(text: string): Line {
    return this.line.read(this.number, text);
  }

  private note(text: string): void {
    this.notes.push(`${this.file}:${this.number}: ${text}`);
  }

  /** @param column from 0 */
  private position(column: number): Position {
    return { file: this.file, line: this.number, column: column + 1 };
  }

  /** The caret under the whole line. */
  private fail(text: string, reason: string): never {
    const column = text.length - text.trimStart().length;
    throw new RuleError(reason, this.position(column), text, text.trim().length);
  }

  /** The caret under the command behind the prompt. */
  private failAtCommand(reason: string, number = this.number): never {
    const { column, command } = this.prompt!;
    throw new RuleError(reason, { ...this.position(column), line: number }, this.promptText, command.length);
  }
}

/** Lines between two reports of progress. */
const LINES_A_STEP = 1 << 14;

const RETURN = 0x0d;
const HASH = 0x23;
const STAR = 0x2a;
const DASH = 0x2d;
const COLON = 0x3a;
const BRACKET = 0x5b;

/** ``` or ~~~ around pasted text. */
const FENCE = /^\s*(?:```|~~~)[\w-]*\s*$/;
const LIST_OUTPUT = /^Chain \S+ \((?:policy \w+|\d+ references)|^target\s+prot\s+opt\s+source\s/;
const PASSWORD = /^\[sudo\] password for [^:]*:\s*$/;
const RULE_LIKE =
  /^\s*(?:\[\d+:\d+\]\s*)?-[APNIDR]\s+\S|^\*(?:raw|mangle|nat|filter|security)\s*$|^:\S+\s+(?:ACCEPT|DROP|-)\s/;

function isEmpty(text: string): boolean {
  return /^[ \t]*$/.test(text);
}
