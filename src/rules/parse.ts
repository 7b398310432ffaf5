// Text -> Ruleset: the output of iptables-save, that of `iptables -S`, or a terminal transcript of such commands.
//
// One pass over the lines; each line is a rule, or stands for something that is known to be none, or is refused.
// What iptables-restore takes is in iptables/iptables-restore.c (1.8.9), what the kernel refuses of it in check.ts.
// Differs: trailing blanks, CRLF, a byte order mark and code fences are accepted; a table or chain given twice is not.

import { checkTable } from "./check.ts";
import { readCommand, readCounter } from "./command.ts";
import { RuleError } from "./error.ts";
import { Line } from "./line.ts";
import { TABLES, type Counters, type Position, type Ruleset, type Table, type TableName } from "./ruleset.ts";
import { refuseTwice, TableDraft } from "./table.ts";
import { outputOf, readPrompt, type Output, type Prompt } from "./transcript.ts";

export interface ParseOptions {
  /** Name of the input in positions and errors. */
  readonly file: string;
  /** The table of a bare `iptables -S` listing: filter if left out. Input that names its tables must name this one. */
  readonly table?: TableName;
}

/** Throws RuleError for whatever cannot be honoured exactly. */
export function parseRuleset(text: string, options: ParseOptions): Ruleset {
  return new Reader(text, options).read();
}

/** One rule set of all tables. @throws RuleError if a table stands in two of them */
export function mergeRulesets(rulesets: readonly Ruleset[]): Ruleset {
  const tables: Table[] = [];
  for (const table of rulesets.flatMap((ruleset) => ruleset.tables)) {
    refuseTwice(tables, table.name, table.position, `*${table.name}`);
    tables.push(table);
  }
  return { tables, notes: rulesets.flatMap((ruleset) => ruleset.notes) };
}

/** What the lines are part of. */
type Section = "start" | "save" | "table" | "listing" | "other";

class Reader {
  private readonly file: string;
  private readonly table: TableName | undefined;
  private readonly text: string;
  private readonly tables: Table[] = [];
  private readonly notes: string[] = [];

  private readonly line: Line;
  private section: Section = "start";
  /** The table of section "table" or "listing". */
  private draft: TableDraft | null = null;
  /** Chains that had a `:` line in this table. */
  private declared = new Map<string, number>();
  private readonly prompts = new Set<string>();
  /** Where the present listing's prompt stands, for one that turns out empty. */
  private listingPrompt: { readonly number: number; readonly text: string; readonly prompt: Prompt } | null = null;
  /** The command whose output is left out. */
  private other = "";
  /** The line that is being read has no newline. */
  private unended = false;
  /** The last line that is not empty. */
  private last = { number: 1, text: "" };

  constructor(text: string, options: ParseOptions) {
    this.file = options.file;
    this.table = options.table;
    this.line = new Line(options.file);
    this.text = text.startsWith("\ufeff") ? text.slice(1) : text;
  }

  read(): Ruleset {
    const { text } = this;
    let number = 0;
    for (let start = 0, end = 0; end < text.length; start = end + 1) {
      end = text.indexOf("\n", start);
      this.unended = end < 0;
      if (end < 0) end = text.length;
      // a carriage return belongs to the line end
      const stop = text.charCodeAt(end - 1) === RETURN && end > start ? end - 1 : end;
      this.readLine(++number, text.slice(start, stop));
    }
    this.endSection(this.last);
    if (this.tables.length === 0) {
      this.fail(this.last, "no rules here: paste the output of `iptables-save` or of `iptables -S`");
    }
    return { tables: this.tables, notes: this.notes };
  }

  private readLine(number: number, text: string): void {
    const first = text.charCodeAt(0);
    // the common case first: a rule
    if (first === DASH && this.draft !== null) {
      this.last.number = number;
      this.last.text = text;
      this.readRule(number, text, 0, null);
      return;
    }
    if (isEmpty(text)) return;
    this.last = { number, text };
    if (FENCE.test(text)) return;
    const prompt = this.section === "table" && first === HASH ? null : readPrompt(text, this.prompts);
    if (prompt !== null) {
      this.readPrompt(number, text, prompt);
      return;
    }
    if (LIST_OUTPUT.test(text)) {
      this.fail(
        { number, text },
        "this is output of `iptables -L`, which leaves out what rules test; paste that of `iptables -S` or `iptables-save`",
      );
    }
    if (this.section === "other") {
      this.leaveOut(number, text);
      return;
    }
    if (first === HASH) {
      this.readComment(number, text);
      return;
    }
    switch (this.section) {
      case "start": {
        this.readFirst(number, text);
        return;
      }
      case "save": {
        this.readOutside(number, text);
        return;
      }
      case "table": {
        this.readInside(number, text);
        return;
      }
      case "listing":
        if (PASSWORD.test(text)) return;
        if (first === STAR || first === COLON) {
          this.fail({ number, text }, "a line of iptables-save in a listing of `iptables -S`; paste one of the two");
        }
        {
          this.readRule(number, text, 0, null);
          return;
        }
    }
  }

  // -- what kind of text it is

  private readFirst(number: number, text: string): void {
    if (text.startsWith("*")) {
      this.section = "save";
      this.readOutside(number, text);
      return;
    }
    if (/^\s*-/.test(text)) {
      this.beginTable(this.table ?? "filter", this.position(number, 0), text);
      this.section = "listing";
      this.readRule(number, text, 0, null);
      return;
    }
    if (text.startsWith("@")) {
      this.fail({ number, text }, "this looks like a ClassBench filter set, not like iptables rules");
    }
    if (/^(?:[:[]|COMMIT)/.test(text))
      this.fail({ number, text }, "this line must stand in a table, below `*filter` or another");
    if (this.line.read(number, text).count === 0) return;
    this.fail(
      { number, text },
      "this is no rule; rules come as `iptables-save` or `iptables -S` prints them, or in a transcript with the prompts",
    );
  }

  private readPrompt(number: number, text: string, prompt: Prompt): void {
    this.endSection({ number, text });
    this.prompts.add(prompt.prompt);
    this.listingPrompt = null;
    this.section = "other";
    this.other = prompt.command;
    if (prompt.command === "") return;
    const output = outputOf(prompt.command);
    switch (output.kind) {
      case "refused":
        throw this.error(number, text, prompt.column, prompt.command.length, output.reason);
      case "save":
        this.section = "save";
        return;
      case "listing":
        this.beginTable(output.table, this.position(number, prompt.column), text);
        this.listingPrompt = { number, text, prompt };
        this.section = "listing";
        return;
      case "other":
        this.checkChange(number, text, prompt, output);
        this.notes.push(`${this.file}:${number}: \`${prompt.command}\` lists no rules; it and its output are left out`);
    }
  }

  private checkChange(number: number, text: string, prompt: Prompt, output: Output & { kind: "other" }): void {
    const changed = this.tables.find(({ name }) => output.changes === "all" || output.changes === name);
    if (changed === undefined) return;
    const reason = `this may change table ${changed.name}, listed before in line ${changed.position.line}; list it again`;
    throw this.error(number, text, prompt.column, prompt.command.length, reason);
  }

  /** A line of another command's output. */
  private leaveOut(number: number, text: string): void {
    if (this.other === "") this.fail({ number, text }, "this stands behind a prompt without a command");
    if (!RULE_LIKE.test(text)) return;
    this.fail(
      { number, text },
      `this looks like a rule, but stands in the output of \`${this.other}\`, which lists none`,
    );
  }

  private readComment(number: number, text: string): void {
    const other = /^# Generated by ((?:ip6|arp|eb)tables)/.exec(text)?.[1];
    if (other !== undefined) {
      this.fail({ number, text }, `these are rules of ${other}; only IPv4 rules of iptables are modelled`);
    }
    if (text.startsWith("# Warning:")) this.notes.push(`${this.file}:${number}: ${text.slice(2).trimEnd()}`);
  }

  // -- iptables-save

  private readOutside(number: number, text: string): void {
    if (PASSWORD.test(text)) return;
    const line = this.line.read(number, text);
    const word = line.word(0)!;
    if (!text.startsWith("*")) {
      if (word.startsWith("*")) line.fail("the line of a table must begin with its *", 0);
      line.fail("this stands in no table: `*TABLE` begins one, COMMIT ends it", 0);
    }
    const name = TABLES.find((table) => `*${table}` === word);
    if (name === undefined) {
      return line.fail(`there is no table "${word.slice(1)}": ${TABLES.join(", ")}`, 0);
    }
    if (line.count > 1) line.fail("nothing may stand behind the name of the table", 1);
    this.beginTable(name, line.position(0), text);
    this.section = "table";
  }

  private readInside(number: number, text: string): void {
    const draft = this.draft!;
    switch (text.charCodeAt(0)) {
      case COLON: {
        this.readChain(number, text);
        return;
      }
      case BRACKET: {
        const [counters, column] = this.readCounters(number, text);
        this.readRule(number, text, column, counters);
        return;
      }
      case STAR:
        this.fail(
          { number, text },
          `table ${draft.name} of line ${draft.position.line} has no COMMIT before this line`,
        );
    }
    if (text.trimEnd() !== "COMMIT") {
      this.readRule(number, text, 0, null);
      return;
    }
    this.endTable();
    this.section = "save";
    if (this.unended) {
      this.notes.push(
        `${this.file}:${number}: no newline behind the last COMMIT; iptables-restore would refuse the file`,
      );
    }
  }

  /** `:CHAIN POLICY [packets:bytes]` */
  private readChain(number: number, text: string): void {
    const draft = this.draft!;
    const line = this.line.read(number, text, 1);
    const [name, policy, counters, more] = [0, 1, 2, 3].map((word) => line.word(word));
    if (name === undefined) return this.fail({ number, text }, "the name of the chain is missing");
    const first = this.declared.get(name);
    if (first !== undefined)
      line.fail(`chain ${name} of table ${draft.name} is defined twice, first in line ${first}`, 0);
    this.declared.set(name, number);
    if (policy === undefined) {
      return line.fail("a policy is missing: ACCEPT or DROP, or - for a chain that is not built in", 0);
    }
    if (draft.chains.get(name)?.hook == null) draft.define(line, name, 0);
    const counted = counters === undefined ? null : parseCounters(counters);
    const sound = more === undefined && (counters === undefined || counted !== null);
    if (policy === "-") {
      if (!sound) this.notes.push(`${this.file}:${number}: what stands behind the - is not read`);
      return;
    }
    if (!sound) line.fail("only counters may stand behind the policy: [PACKETS:BYTES]", 2);
    if (policy !== "ACCEPT" && policy !== "DROP") {
      return line.fail(`"${policy}" is no policy: ACCEPT or DROP, or - for a chain that is not built in`, 1);
    }
    draft.setPolicy(line, name, 0, policy, counted);
  }

  private readCounters(number: number, text: string): [Counters, number] {
    const end = text.indexOf("]") + 1;
    const counters = parseCounters(text.slice(0, end));
    if (counters !== null) return [counters, end];
    return this.fail({ number, text }, "counters are written [PACKETS:BYTES]");
  }

  // -- tables

  private readRule(number: number, text: string, column: number, counters: Counters | null): void {
    const draft = this.draft!;
    const line = this.line.read(number, text, column);
    const word = line.word(0);
    if (word === undefined) {
      if (counters !== null) line.failAt("counters without a rule", 0, column);
      return;
    }
    const command = readCommand(line, draft.scope, counters);
    if (command.kind === "skip") {
      this.notes.push(`${this.file}:${number}: left out, for IPv6 alone (-6)`);
    }
    draft.apply(line, command);
    this.listingPrompt = null;
  }

  private beginTable(name: TableName, position: Position, text: string): void {
    if (this.table !== undefined && this.table !== name) {
      const { line, column } = position;
      throw this.error(line, text, column - 1, text.length, `table ${name} where ${this.table} alone is asked for`);
    }
    refuseTwice(this.tables, name, position, text);
    this.draft = new TableDraft(name, position);
    this.declared = new Map();
  }

  private endTable(): void {
    const draft = this.draft!;
    this.draft = null;
    const table = draft.finish();
    checkTable(table, draft.idleTests);
    this.tables.push(table);
  }

  /** @param at the line that ends it, or the last one */
  private endSection(at: { readonly number: number; readonly text: string }): void {
    const { draft, section, listingPrompt: empty } = this;
    if (section === "table" && draft !== null) {
      this.fail(at, `table ${draft.name} of line ${draft.position.line} has no COMMIT`);
    }
    if (empty !== null) {
      const { column, command } = empty.prompt;
      throw this.error(empty.number, empty.text, column, command.length, "this command's output is missing");
    }
    if (section === "listing") this.endTable();
  }

  // -- errors

  private position(number: number, column: number): Position {
    return { file: this.file, line: number, column: column + 1 };
  }

  private error(number: number, text: string, column: number, length: number, reason: string): RuleError {
    return new RuleError(reason, this.position(number, column), text, length);
  }

  /** The caret under the whole line. */
  private fail({ number, text }: { readonly number: number; readonly text: string }, reason: string): never {
    const column = text.length - text.trimStart().length;
    throw this.error(number, text, column, text.trim().length, reason);
  }
}

const RETURN = 0x0d;
const DASH = 0x2d;
const HASH = 0x23;
const STAR = 0x2a;
const COLON = 0x3a;
const BRACKET = 0x5b;

/** ``` or ~~~ around pasted text. */
const FENCE = /^\s*(?:```|~~~)[\w-]*\s*$/;
const LIST_OUTPUT = /^Chain \S+ \((?:policy \w+|\d+ references)|^target\s+prot\s+opt\s+source\s/;
const PASSWORD = /^\[sudo\] password for [^:]*:\s*$/;
const RULE_LIKE =
  /^\s*(?:\[\d+:\d+\]\s*)?-[APNIDR]\s+\S|^\*(?:raw|mangle|nat|filter|security)\s*$|^:\S+\s+(?:ACCEPT|DROP|-)\s/;

function isEmpty(text: string): boolean {
  return text === "" || /^[ \t]*$/.test(text);
}

function parseCounters(text: string): Counters | null {
  const [, packets = "", bytes = ""] = /^\[(\d+):(\d+)\]$/.exec(text) ?? [];
  const counters = { packets: readCounter(packets), bytes: readCounter(bytes) };
  return counters.packets === null || counters.bytes === null ? null : (counters as Counters);
}
