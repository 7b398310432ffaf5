// One line of options (`-A INPUT -p tcp --dport 80 -j ACCEPT`) -> what it does to its table.
//
// Follows do_parse() in iptables/xshared.c and do_command4() in iptables/iptables.c (1.8.9), getopt_long(3) included:
// options in any order, `-ptcp`, `--dport=80`, unambiguous abbreviations, options of a protocol's match without -m.

import { parsePrintedNetwork } from "../net/address.ts";
import { formatProtocol, parseProtocol } from "../net/protocol.ts";
import type { Extension, Option, Setting } from "./extension.ts";
import type { Line } from "./line.ts";
import { MATCHES, protocolMissing } from "./matches.ts";
import { IPV6_MATCHES, OTHER_MATCHES, OTHER_TARGETS } from "./names.ts";
import { BUILTIN_CHAINS } from "./ruleset.ts";
import type { AddressTest, Counters, Header, InterfaceTest, Match, Rule, TableName, Target } from "./ruleset.ts";
import { sharedAddress, sharedFragment, sharedHeader, SharedBySetting, sharedInterface, sharedProto } from "./share.ts";
import { TARGETS } from "./targets.ts";
import { OLD_NEGATION, readAddresses, readInterface } from "./values.ts";

/** What a line does. `word` is the index of the chain's name, for errors. */
export type Command =
  | { readonly kind: "append"; readonly chain: string; readonly word: number; readonly rules: readonly Rule[] }
  | {
      readonly kind: "insert" | "replace";
      readonly chain: string;
      readonly word: number;
      /** From 1. */
      readonly number: number;
      readonly rules: readonly Rule[];
    }
  | { readonly kind: "delete"; readonly chain: string; readonly word: number; readonly rules: readonly Rule[] }
  | { readonly kind: "deleteNumber"; readonly chain: string; readonly word: number; readonly number: number }
  | { readonly kind: "flush" | "zero" | "deleteChain"; readonly chain: string | null; readonly word: number }
  | { readonly kind: "zeroNumber"; readonly chain: string; readonly word: number; readonly number: number }
  | { readonly kind: "newChain"; readonly chain: string; readonly word: number }
  | { readonly kind: "rename"; readonly chain: string; readonly word: number; readonly name: string }
  | {
      readonly kind: "policy";
      readonly chain: string;
      readonly word: number;
      readonly policy: string;
      readonly counters: Counters | null;
    }
  /** `-6`: not for IPv4. */
  | { readonly kind: "skip" };

/** What the line may refer to. */
export interface Scope {
  readonly table: TableName;
  /** The jump to a user chain of the table; undefined if it is not defined so far. */
  readonly jump: (chain: string) => Target | undefined;
  readonly goto: (chain: string) => Target | undefined;
  /** Told of a rule whose header test was written, and is always true: `-i +`. */
  readonly hasIdleTest: (rule: Rule) => void;
}

/** @param counters those in front of the line, `[packets:bytes]` */
export function readCommand(line: Line, scope: Scope, counters: Counters | null): Command {
  return new Reader(line, scope, counters).read();
}

const NO_MATCHES: readonly Match[] = [];
const NO_ADDRESSES: readonly (AddressTest | null)[] = [null];

/** A module of the rule and what it was told so far. */
class Use<T> {
  readonly extension: Extension<T>;
  readonly word: number;
  readonly settings: Setting[] = [];

  constructor(extension: Extension<T>, word: number) {
    this.extension = extension;
    this.word = word;
  }
}

class Reader {
  private readonly line: Line;
  private readonly scope: Scope;
  /** Index of the next word. */
  private at = 0;
  private negated = false;

  private command: { readonly letter: string; readonly chain: string | null; readonly word: number } | null = null;
  private commandNumber: number | null = null;
  /** The second word of -P and -E, and its index. */
  private commandName = "";
  private commandNameWord = 0;
  private skipped = false;

  /** Options seen that may stand once: bit n for letter n of ONCE. */
  private seen = 0;
  private src: { readonly text: string; readonly word: number; readonly negated: boolean } | null = null;
  private dst: { readonly text: string; readonly word: number; readonly negated: boolean } | null = null;
  private inIface: InterfaceTest | null = null;
  private outIface: InterfaceTest | null = null;
  private inWord = -1;
  private outWord = -1;
  private proto = 0;
  private protoNegated = false;
  private protoGiven = false;
  private protoUsed = false;
  private fragment: Header["fragment"] = null;
  private counters: Counters | null;
  private readonly matches: Use<Match>[] = [];
  private target: Target | null = null;
  private targetUse: Use<Target> | null = null;

  constructor(line: Line, scope: Scope, counters: Counters | null) {
    this.line = line;
    this.scope = scope;
    this.counters = counters;
  }

  read(): Command {
    while (this.at < this.line.count && !this.skipped) this.readWord();
    if (this.skipped) return { kind: "skip" };
    if (this.negated) this.line.fail("nothing stands behind this !", this.line.count - 1);
    return this.finish();
  }

  // -- getopt_long(3)

  private readWord(): void {
    const { line } = this;
    const word = line.word(this.at)!;
    const index = this.at++;
    if (word.startsWith("--") && word.length > 2) {
      this.readLong(word, index);
      return;
    }
    if (word.startsWith("-") && word.length > 1 && word !== "--") {
      this.readShort(word, index);
      return;
    }
    if (word !== "!") return this.refuseWord(word, index);
    if (this.negated) line.fail("two ! in a row", index);
    this.negated = true;
  }

  private refuseWord(word: string, index: number): never {
    if (index === 0 && /^(?:[*:#]|COMMIT$)/.test(word)) {
      return this.line.fail(`${word} must stand at the beginning of its line`, index);
    }
    if (word.startsWith("#")) {
      return this.line.fail("a comment must begin its line; within a rule use -m comment --comment", index);
    }
    const before = this.line.word(index - 2);
    if (before?.startsWith("-") === true && this.line.word(index - 1) === "!") {
      return this.line.fail(OLD_NEGATION, index - 1);
    }
    return this.line.fail(`"${word}" is not expected here: an option begins with -`, index);
  }

  /** A word of one-letter options: `-f`, `-p tcp`, `-ptcp`, `-vA INPUT`. */
  private readShort(word: string, index: number): void {
    for (let i = 1; i < word.length; i++) {
      const letter = word[i]!;
      const args = SHORT.get(letter);
      if (args === undefined) return this.line.failPart(`unknown option -${letter}`, index, word.slice(1));
      if (args === 0) {
        this.readBase(letter, "", index, index);
        continue;
      }
      const rest = word.slice(i + 1);
      if (rest !== "") {
        this.readBase(letter, rest, index, index);
        return;
      }
      if (args === "optional") {
        this.readBase(letter, null, index, index);
        return;
      }
      this.readBase(letter, this.take(index), index, this.at - 1);
      return;
    }
  }

  private readLong(word: string, index: number): void {
    const equals = word.indexOf("=");
    const name = word.slice(2, equals < 0 ? undefined : equals);
    const given = equals < 0 ? null : word.slice(equals + 1);

    const base = LONG.get(name);
    if (base !== undefined) {
      this.readLongBase(base, given, index);
      return;
    }
    const exact = this.optionNamed(name);
    if (exact !== undefined) {
      this.readOption(exact, given, index);
      return;
    }

    const fitting = this.optionsBeginning(name);
    if (fitting.length > 1) {
      const names = fitting.map((option) => `--${typeof option === "string" ? longName(option) : option.option.name}`);
      return this.line.fail(`--${name} may be ${names.join(" or ")}`, index);
    }
    const [only] = fitting;
    if (typeof only === "string") {
      this.readLongBase(only, given, index);
      return;
    }
    if (only !== undefined) {
      this.readOption(only, given, index);
      return;
    }

    // the option of a protocol's match, which -p loads when needed
    if (!this.loadProtocolMatch(index)) return this.refuseOption(name, index);
    this.at = index;
  }

  private readLongBase(letter: string, given: string | null, index: number): void {
    const args = SHORT.get(letter) ?? 0;
    if (args === 0 && given !== null) this.line.fail(`--${longName(letter)} takes no argument`, index);
    if (args !== 1) {
      this.readBase(letter, args === 0 ? "" : given, index, index);
      return;
    }
    if (given !== null) {
      this.readBase(letter, given, index, index);
      return;
    }
    this.readBase(letter, this.take(index), index, this.at - 1);
  }

  /** The word behind the option, whatever it is. */
  private take(index: number): string {
    const word = this.line.word(this.at);
    if (word === undefined) return this.line.fail(`nothing stands behind ${this.line.word(index) ?? ""}`, index);
    this.at++;
    return word;
  }

  /** The next word, if it is neither an option nor a `!` (xs_has_arg()). */
  private takeOptional(): string | null {
    const word = this.line.word(this.at);
    if (word === undefined || word.startsWith("-") || word.startsWith("!")) return null;
    this.at++;
    return word;
  }

  // -- options of modules

  /** Modules in the order in which getopt asks them: the last named first; of one named twice the last use answers. */
  private optionNamed(name: string): Found | undefined {
    if (this.targetUse !== null) {
      const option = this.targetUse.extension.options.get(name);
      if (option !== undefined) return { use: this.targetUse, option };
    }
    for (let i = this.matches.length - 1; i >= 0; i--) {
      const use = this.matches[i]!;
      const option = use.extension.options.get(name);
      if (option !== undefined) return { use, option };
    }
    return undefined;
  }

  /** What the abbreviation may mean: letters of base options, options of modules; synonyms once. */
  private optionsBeginning(prefix: string): (string | Found)[] {
    const fitting: (string | Found)[] = [];
    for (const [name, letter] of LONG) {
      if (name.startsWith(prefix) && !fitting.includes(letter)) fitting.push(letter);
    }
    const names = new Set<string>();
    const uses: Use<unknown>[] = [...this.matches].reverse();
    if (this.targetUse !== null) uses.unshift(this.targetUse);
    for (const use of uses) {
      // an earlier use of the same module has closed
      if (names.has(use.extension.name)) continue;
      names.add(use.extension.name);
      const keys = new Set<string>();
      for (const option of use.extension.options.values()) {
        if (!option.name.startsWith(prefix) || keys.has(option.key)) continue;
        keys.add(option.key);
        fitting.push({ use, option });
      }
    }
    return fitting;
  }

  private readOption({ use, option }: Found, given: string | null, index: number): void {
    const { line } = this;
    if (!option.modelled) {
      line.fail(`option --${option.key} of ${use.extension.name} is not modelled yet`, index);
    }
    if (option.args === 0 && given !== null) line.fail(`--${option.name} takes no argument`, index);
    const argument = option.args === 0 ? "" : (given ?? this.take(index));
    const word = option.args === 0 || given !== null ? index : this.at - 1;
    let second = "";
    if (option.args === 2) {
      if (argument === "!") line.fail(OLD_NEGATION, word);
      second = this.takeOptional() ?? line.fail(`--${option.name} takes two words`, index);
    }
    for (const setting of use.settings) {
      if (setting.key === option.key) line.fail(`--${option.name} stands twice`, index);
    }
    if (this.negated && !option.negatable) line.fail(`--${option.name} cannot be negated`, index);
    const { proto, protoNegated, negated } = this;
    use.settings.push({ option, key: option.key, argument, second, negated, word, proto, protoNegated });
    this.negated = false;
  }

  /** `-p tcp --dport 80`: the match is loaded where its first option stands. Once in a rule. */
  private loadProtocolMatch(index: number): boolean {
    if (!this.protoGiven || this.protoUsed) return false;
    const match = MATCHES.get(formatProtocol(this.proto));
    if (match === undefined) return false;
    this.protoUsed = true;
    this.matches.push(new Use(match, index));
    return true;
  }

  private refuseOption(name: string, index: number): never {
    const proto = formatProtocol(this.proto);
    if (this.protoGiven && (OTHER_MATCHES.has(proto) || IPV6_MATCHES.has(proto))) {
      return this.line.fail(`unknown option --${name}, or one of match ${proto}, which is not modelled yet`, index);
    }
    const owners = [...MATCHES.values()].filter((match) => match.options.has(name)).map((match) => `-m ${match.name}`);
    const targets = [...TARGETS.values()].filter((target) => target.options.has(name)).map(({ name }) => `-j ${name}`);
    const places = [...owners, ...targets];
    if (places.length === 0) return this.line.fail(`unknown option --${name}`, index);
    return this.line.fail(`--${name} must stand behind ${places.join(" or ")}`, index);
  }

  // -- options of iptables itself

  /** @param word index of the argument, or of the option where it has none */
  private readBase(letter: string, argument: string | null, index: number, word: number): void {
    const { line } = this;
    if (COMMANDS.includes(letter)) {
      this.readCommandLetter(letter, argument, index, word);
      return;
    }
    const text = argument ?? "";
    // a rule has one target, whether by -j or by -g
    const once = ONCE.indexOf(letter === "g" ? "j" : letter);
    if (once >= 0) {
      if (this.seen & (1 << once)) line.fail(`a second -${letter}`, index);
      this.seen |= 1 << once;
    }
    if (this.negated && !NEGATABLE.includes(letter)) line.fail(`-${letter} cannot be negated`, index);
    const negated = this.negated;
    this.negated = false;
    switch (letter) {
      case "s":
        this.src = { text, word, negated };
        return;
      case "d":
        this.dst = { text, word, negated };
        return;
      case "i":
        this.inIface = sharedInterface(text, negated, () => readInterface(line, word, text, negated));
        this.inWord = index;
        return;
      case "o":
        this.outIface = sharedInterface(text, negated, () => readInterface(line, word, text, negated));
        this.outWord = index;
        return;
      case "p": {
        this.readProtocol(text, word, negated);
        return;
      }
      case "f":
        this.fragment = sharedFragment(negated);
        return;
      case "m": {
        this.readMatch(text, word);
        return;
      }
      case "j": {
        this.readJump(text, word);
        return;
      }
      case "g":
        this.target = this.scope.goto(text) ?? line.fail(`-g goes to a chain defined before; "${text}" is none`, word);
        return;
      case "c": {
        this.readCounters(text, index, word);
        return;
      }
      case "6":
        this.skipped = true;
        return;
      case "4":
      case "v":
        return;
      case "t":
        return line.fail("-t is not allowed here: a rule belongs to the table it stands in", index);
      default:
        return line.fail(`-${letter} has no place in a rule file`, index);
    }
  }

  private readCommandLetter(letter: string, argument: string | null, index: number, word: number): void {
    const { line } = this;
    if (this.negated) line.fail("a ! cannot stand in front of a command", index);
    if (this.command !== null) line.fail(`a second command: the line has -${this.command.letter} already`, index);
    if (letter === "C" || letter === "L" || letter === "S") {
      line.fail(`-${letter} changes nothing and has no place in a rule file`, index);
    }
    let chain = argument;
    let chainWord = word;
    if (chain === null) {
      chain = this.takeOptional();
      chainWord = chain === null ? index : this.at - 1;
    }
    this.command = { letter, chain, word: chainWord };
    if ("DRIZ".includes(letter) && chain !== null) {
      const number = this.takeOptional();
      if (number !== null) this.commandNumber = readRuleNumber(line, this.at - 1, number);
      else if (letter === "R") line.fail("-R needs the number of the rule", index);
    }
    if (letter === "P" || letter === "E") {
      const what = letter === "P" ? "a policy: ACCEPT or DROP" : "the new name";
      this.commandName = this.takeOptional() ?? line.fail(`-${letter} needs ${what}`, index);
      this.commandNameWord = this.at - 1;
    }
  }

  private readProtocol(text: string, word: number, negated: boolean): void {
    if (text === "!") this.line.fail(OLD_NEGATION, word);
    const proto =
      parseProtocol(text) ??
      this.line.fail(`"${text}" is no protocol: 0..255 or a name of /etc/protocols, as Debian has it`, word);
    if (proto === 0 && negated) this.line.fail("`! -p all` would match nothing", word);
    this.proto = proto;
    this.protoNegated = negated;
    this.protoGiven = true;
  }

  private readMatch(name: string, word: number): void {
    const match = MATCHES.get(name);
    if (match !== undefined) {
      this.matches.push(new Use(match, word));
      return;
    }
    if (OTHER_MATCHES.has(name)) this.line.fail(`match ${name} is not modelled yet`, word);
    if (IPV6_MATCHES.has(name)) this.line.fail(`match ${name} is of IPv6, which is not modelled yet`, word);
    if (name === "!") this.line.fail("-m cannot be negated; the ! belongs to one of its options", word);
    this.line.fail(`there is no match "${name}" in iptables 1.8.9`, word);
  }

  private readJump(name: string, word: number): void {
    const { line } = this;
    const verdict = VERDICTS.get(name);
    const extension = TARGETS.get(name);
    if (verdict !== undefined) this.target = verdict;
    else if (extension !== undefined) this.targetUse = new Use(extension, word);
    else this.target = this.scope.jump(name) ?? this.refuseTarget(name, word);
    if (name === "DROP" && this.scope.table === "nat") {
      line.fail("DROP is not allowed in the nat table: it is not for filtering", word);
    }
  }

  private refuseTarget(name: string, word: number): never {
    const { line } = this;
    if (OTHER_TARGETS.has(name)) return line.fail(`target ${name} is not modelled yet`, word);
    if ((BUILTIN_CHAINS[this.scope.table] as readonly string[]).includes(name)) {
      return line.fail(`${name} is a built-in chain; nothing can jump to it`, word);
    }
    if (name === "") return line.fail("the name of the target is empty", word);
    if (name === "!") return line.fail("-j cannot be negated", word);
    return line.fail(`no chain "${name}" is defined in table ${this.scope.table} before this line`, word);
  }

  /** `-c PACKETS BYTES` or `-c PACKETS,BYTES`. */
  private readCounters(text: string, index: number, word: number): void {
    const { line } = this;
    if (this.counters !== null) line.fail("the counters of this rule stand in front of it already", index);
    const comma = text.indexOf(",");
    const packets = comma < 0 ? text : text.slice(0, comma);
    const bytes =
      comma < 0 ? (this.takeOptional() ?? line.fail("-c needs packets and bytes", index)) : text.slice(comma + 1);
    this.counters = {
      packets: readCounter(packets) ?? line.fail(`"${packets}" is no number of packets`, word),
      bytes: readCounter(bytes) ?? line.fail(`"${bytes}" is no number of bytes`, this.at - 1),
    };
  }

  // -- the whole line

  private finish(): Command {
    const { line, command } = this;
    if (command === null) return line.fail("no command: a rule begins with -A CHAIN", 0);
    const { letter, word } = command;
    const number = this.commandNumber;
    if (command.chain === null) {
      this.allowOnly("v4");
      if (letter === "F") return { kind: "flush", chain: null, word };
      if (letter === "Z") return { kind: "zero", chain: null, word };
      return { kind: "deleteChain", chain: null, word };
    }
    const { chain } = command;
    switch (letter) {
      case "A":
        return { kind: "append", chain, word, rules: this.finishRules(chain) };
      case "I":
        return { kind: "insert", chain, word, number: number ?? 1, rules: this.finishRules(chain) };
      case "R": {
        const rules = this.finishRules(chain);
        if (rules.length > 1) line.fail("-R replaces by one rule; a list of addresses makes several", word);
        return { kind: "replace", chain, word, number: number ?? 1, rules };
      }
      case "D":
        if (number === null) {
          if (this.seen & (1 << ONCE.indexOf("c"))) line.fail("-D takes no counters", word);
          return { kind: "delete", chain, word, rules: this.finishRules(chain) };
        }
        this.allowOnly("v4");
        return { kind: "deleteNumber", chain, word, number };
      case "P":
        this.allowOnly("cv4");
        if (this.commandName !== "ACCEPT" && this.commandName !== "DROP") {
          line.fail(`"${this.commandName}" is no policy: ACCEPT or DROP`, this.commandNameWord);
        }
        if (this.commandName === "DROP" && this.scope.table === "nat") {
          line.fail("DROP is not allowed in the nat table: it is not for filtering", this.commandNameWord);
        }
        return { kind: "policy", chain, word, policy: this.commandName, counters: this.counters };
      case "E":
        this.allowOnly("v4");
        return { kind: "rename", chain, word, name: this.commandName };
      case "N":
        this.allowOnly("v4");
        return { kind: "newChain", chain, word };
      case "Z":
        this.allowOnly("v4");
        if (number !== null) return { kind: "zeroNumber", chain, word, number };
        return { kind: "zero", chain, word };
      default:
        this.allowOnly("v4");
        return { kind: letter === "F" ? "flush" : "deleteChain", chain, word };
    }
  }

  /** For commands that take no rule. */
  private allowOnly(letters: string): void {
    const { line, command } = this;
    for (const letter of ONCE.split("")) {
      if (this.seen & (1 << ONCE.indexOf(letter)) && !letters.includes(letter))
        line.fail(`-${command?.letter ?? ""} does not go with -${letter}`, command?.word ?? 0);
    }
    const [match] = this.matches;
    if (match !== undefined) line.fail(`-${command?.letter ?? ""} does not go with a match`, match.word);
  }

  private finishRules(chain: string): Rule[] {
    const { line, scope } = this;
    if (this.outWord >= 0 && (chain === "PREROUTING" || chain === "INPUT")) {
      line.fail(`${chain} has no -o: the way out is not known there`, this.outWord);
    }
    if (this.inWord >= 0 && (chain === "POSTROUTING" || chain === "OUTPUT")) {
      line.fail(`${chain} has no -i: iptables does not allow it there`, this.inWord);
    }
    const target = this.finishTarget();
    const matches = this.finishMatches();
    // `-i +` tests nothing, and iptables-save forgets it
    const inIface = isIdle(this.inIface) ? null : this.inIface;
    const outIface = isIdle(this.outIface) ? null : this.outIface;
    const proto = sharedProto(this.proto, this.protoNegated);
    const { fragment, counters } = this;

    const rules: Rule[] = [];
    const position = line.positionOf(0);
    for (const src of readTests(line, this.src)) {
      for (const dst of readTests(line, this.dst)) {
        const header = sharedHeader(src, dst, inIface, outIface, proto, fragment);
        const rule: Rule = { header, matches, target, counters, position, text: line.text };
        rules.push(rule);
        if (inIface !== this.inIface || outIface !== this.outIface) scope.hasIdleTest(rule);
      }
    }
    return rules;
  }

  private finishTarget(): Target | null {
    const { line, scope, targetUse: use } = this;
    if (use === null) return this.target;
    const { table } = scope;
    const { extension, settings, word } = use;
    const target = targets.get(extension, settings, () => extension.read(settings, { line, word, table }));
    if (target.kind === "REJECT") {
      if (table !== "filter") line.fail(`REJECT is not allowed in table ${table}, only in filter`, use.word);
      if (target.with === "tcp-reset" && (this.proto !== 6 || this.protoNegated)) {
        line.fail("tcp-reset needs -p tcp, not negated", use.settings[0]?.word ?? use.word);
      }
    }
    if (NAT_TARGETS.includes(target.kind) && table !== "nat") {
      line.fail(`${target.kind} is not allowed in table ${table}, only in nat`, use.word);
    }
    return target;
  }

  private finishMatches(): readonly Match[] {
    const [first, ...others] = this.matches;
    if (first === undefined) return NO_MATCHES;
    const matches = this.finishMatch(first);
    return others.length === 0 ? matches : [...matches, ...others.flatMap((use) => this.finishMatch(use))];
  }

  /** The match in a list of its own, which serves rules that have no other. */
  private finishMatch({ extension, settings, word }: Use<Match>): readonly Match[] {
    const { line, scope } = this;
    if (extension.proto !== undefined && (this.proto !== extension.proto || this.protoNegated)) {
      line.fail(protocolMissing(extension), word);
    }
    const read = () => [extension.read(settings, { line, word, table: scope.table })];
    return extension.name === "comment" ? read() : matchLists.get(extension, settings, read);
  }
}

const matchLists = new SharedBySetting<readonly Match[]>();
const targets = new SharedBySetting<Target>();

interface Found {
  readonly use: Use<unknown>;
  readonly option: Option;
}

const VERDICTS: ReadonlyMap<string, Target> = new Map([
  ["ACCEPT", { kind: "ACCEPT" }],
  ["DROP", { kind: "DROP" }],
  ["RETURN", { kind: "RETURN" }],
]);

const NAT_TARGETS: readonly Target["kind"][] = ["DNAT", "SNAT", "MASQUERADE", "REDIRECT"];

function isIdle(test: InterfaceTest | null): boolean {
  return test !== null && test.wildcard && test.name === "" && !test.negated;
}

function readTests(
  line: Line,
  given: { readonly text: string; readonly word: number; readonly negated: boolean } | null,
): readonly (AddressTest | null)[] {
  if (given === null) return NO_ADDRESSES;
  const { text, word, negated } = given;
  const printed = parsePrintedNetwork(text);
  if (printed !== null) return [sharedAddress(printed.address, printed.mask, negated)];
  const tests = readAddresses(line, word, text, negated);
  return tests.map((test) => sharedAddress(test.address, test.mask, test.negated));
}

function readRuleNumber(line: Line, word: number, text: string): number {
  const number = /^\d+$/.test(text) ? Number(text) : 0;
  return number >= 1 && number <= 0x7fffffff
    ? number
    : line.fail(`"${text}" is no rule number; they count from 1`, word);
}

const MAX_COUNTER = (1n << 64n) - 1n;

/** null if it is no number of 64 bits. */
export function readCounter(text: string): bigint | null {
  if (!/^\d+$/.test(text)) return null;
  const value = BigInt(text);
  return value <= MAX_COUNTER ? value : null;
}

// -- the options of iptables, by letter

/** Words behind each: none, one, or one if it does not look like an option. */
const SHORT: ReadonlyMap<string, 0 | 1 | "optional"> = new Map<string, 0 | 1 | "optional">([
  ..."46bfnvxV".split("").map((letter) => [letter, 0] as const),
  ..."ACDEIMNPRcdgijmopst".split("").map((letter) => [letter, 1] as const),
  ..."FLSXZhwW".split("").map((letter) => [letter, "optional"] as const),
]);

const LONG: ReadonlyMap<string, string> = new Map([
  ["append", "A"],
  ["delete", "D"],
  ["check", "C"],
  ["insert", "I"],
  ["replace", "R"],
  ["list", "L"],
  ["list-rules", "S"],
  ["flush", "F"],
  ["zero", "Z"],
  ["new-chain", "N"],
  ["delete-chain", "X"],
  ["rename-chain", "E"],
  ["policy", "P"],
  ["source", "s"],
  ["destination", "d"],
  ["src", "s"],
  ["dst", "d"],
  ["protocol", "p"],
  ["in-interface", "i"],
  ["jump", "j"],
  ["table", "t"],
  ["match", "m"],
  ["numeric", "n"],
  ["out-interface", "o"],
  ["verbose", "v"],
  ["wait", "w"],
  ["wait-interval", "W"],
  ["exact", "x"],
  ["fragments", "f"],
  ["version", "V"],
  ["help", "h"],
  ["line-numbers", "0"],
  ["modprobe", "M"],
  ["set-counters", "c"],
  ["goto", "g"],
  ["ipv4", "4"],
  ["ipv6", "6"],
]);

function longName(letter: string): string {
  return [...LONG].find(([, of]) => of === letter)?.[0] ?? letter;
}

const COMMANDS = "ACDEFILNPRSXZ";
const ONCE = "sdiopfjc";
const NEGATABLE = "sdiopf";
