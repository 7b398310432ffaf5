// The words of a line -> its options with their arguments, as getopt_long(3) hands them to iptables.
//
// `-p tcp`, `-ptcp`, `--protocol tcp`, `--protocol=tcp`, `-vA INPUT`; a long name may be cut as long as it fits one option.
// Differs: iptables 1.8.9 itself mistakes `-ptcp` and `--protocol=tcp` for names of protocols; 1.8.10 does not.

import type { Extension, Option, Setting } from "./extension.ts";
import type { Line } from "./line.ts";
import type { Match, Target } from "./ruleset.ts";
import { OLD_NEGATION } from "./names.ts";

/** A module of a rule and what it was told so far. */
export class Use<T> {
  readonly extension: Extension<T>;
  /** Index of the word that named it, or of its first option. */
  readonly word: number;
  readonly settings: Setting[] = [];

  constructor(extension: Extension<T>, word: number) {
    this.extension = extension;
    this.word = word;
  }
}

/** The modules whose options are known at this place of the line. */
export interface Modules {
  readonly matches: readonly Use<Match>[];
  readonly targetUse: Use<Target> | null;
}

/** An option, or what stands in the place of one. */
export interface Token {
  /** Of an option of iptables itself; `!` for the negation, empty for an option of a module, `?` for an unknown one. */
  readonly letter: string;
  readonly found: Found | null;
  /** Null if it has none; `!` and unknown options: their text. */
  readonly argument: string | null;
  /** Index of the option's word, and of the argument's: the same where they stand in one word. */
  readonly index: number;
  readonly word: number;
}

export interface Found {
  readonly use: Use<unknown>;
  readonly option: Option;
}

/** Walks the words of a line. */
export class OptionReader {
  private readonly line: Line;
  private at = 0;
  /** Within a word of one-letter options: the next of them; else 0. */
  private letterAt = 0;

  constructor(line: Line) {
    this.line = line;
  }

  /** null at the end of the line; throws RuleError for what is no option, and for one without its argument. */
  next(modules: Modules): Token | null {
    const word = this.line.word(this.at);
    if (word === undefined) return null;
    const index = this.at;
    if (this.letterAt > 0) return this.readLetter(word, index);
    if (word.startsWith("--") && word.length > 2) {
      this.at++;
      return this.readName(word, index, modules);
    }
    if (word.startsWith("-") && word.length > 1 && word !== "--") {
      this.letterAt = 1;
      return this.readLetter(word, index);
    }
    this.at++;
    if (word === "!") return { letter: "!", found: null, argument: word, index, word: index };
    return this.refuse(word, index);
  }

  /** The next word, if it is neither an option nor a `!` (xs_has_arg()). */
  takeOptional(): string | null {
    const word = this.line.word(this.at);
    if (word === undefined || word.startsWith("-") || word.startsWith("!")) return null;
    this.at++;
    return word;
  }

  /** Index of the word that was taken last. */
  get taken(): number {
    return this.at - 1;
  }

  /** Lets an unknown option be read again: another module knows it perhaps. */
  again({ index }: Token): void {
    this.at = index;
  }

  private readLetter(word: string, index: number): Token {
    const letter = word[this.letterAt]!;
    const args = ARGUMENTS.get(letter);
    if (args === undefined) return this.line.failPart(`unknown option -${letter}`, index, word.slice(this.letterAt));
    const rest = word.slice(this.letterAt + 1);
    if (args === "none" && rest !== "") {
      this.letterAt++;
      return { letter, found: null, argument: null, index, word: index };
    }
    this.letterAt = 0;
    this.at++;
    return this.base(letter, rest === "" ? null : rest, index);
  }

  private readName(word: string, index: number, modules: Modules): Token {
    const equals = word.indexOf("=");
    const name = word.slice(2, equals < 0 ? undefined : equals);
    const given = equals < 0 ? null : word.slice(equals + 1);
    const letter = LETTERS.get(name);
    if (letter !== undefined) return this.base(letter, given, index);
    const found = optionNamed(modules, name);
    if (found !== undefined) return this.ofModule(found, given, index);

    const fitting = optionsBeginning(modules, name);
    const [only] = fitting;
    if (fitting.length > 1) {
      const names = fitting.map((option) => `--${typeof option === "string" ? nameOf(option) : option.option.name}`);
      return this.line.fail(`--${name} may be ${names.join(" or ")}`, index);
    }
    if (only === undefined) return { letter: "?", found: null, argument: name, index, word: index };
    return typeof only === "string" ? this.base(only, given, index) : this.ofModule(only, given, index);
  }

  private base(letter: string, given: string | null, index: number): Token {
    const args = ARGUMENTS.get(letter) ?? "none";
    if (args === "none" && given !== null) return this.line.fail(`--${nameOf(letter)} takes no argument`, index);
    const argument = args === "one" ? (given ?? this.take(index)) : given;
    return { letter, found: null, argument, index, word: args === "one" && given === null ? this.taken : index };
  }

  private ofModule(found: Found, given: string | null, index: number): Token {
    const { option } = found;
    if (option.args === 0 && given !== null) return this.line.fail(`--${option.name} takes no argument`, index);
    const argument = option.args === 0 ? null : (given ?? this.take(index));
    return { letter: "", found, argument, index, word: option.args > 0 && given === null ? this.taken : index };
  }

  /** The word behind the option, whatever it is. */
  private take(index: number): string {
    const word = this.line.word(this.at);
    if (word === undefined) return this.line.fail(`nothing stands behind ${this.line.word(index) ?? ""}`, index);
    this.at++;
    return word;
  }

  private refuse(word: string, index: number): never {
    const { line } = this;
    if (index === 0 && /^(?:[*:#]|COMMIT$)/.test(word)) {
      return line.fail(`${word} must stand at the beginning of its line`, index);
    }
    if (word.startsWith("#")) {
      return line.fail("a comment must begin its line; within a rule use -m comment --comment", index);
    }
    const old = line.word(index - 1) === "!" && line.word(index - 2)?.startsWith("-") === true;
    if (old) return line.fail(OLD_NEGATION, index - 1);
    return line.fail(`"${word}" is not expected here: an option begins with -`, index);
  }
}

/** In the order in which getopt asks the modules: the last named first; of one named twice the last use answers. */
function optionNamed({ targetUse, matches }: Modules, name: string): Found | undefined {
  if (targetUse !== null) {
    const option = targetUse.extension.options.get(name);
    if (option !== undefined) return { use: targetUse, option };
  }
  for (let i = matches.length - 1; i >= 0; i--) {
    const use = matches[i]!;
    const option = use.extension.options.get(name);
    if (option !== undefined) return { use, option };
  }
  return undefined;
}

/** What a cut name may mean: letters of iptables' own options, options of modules; synonyms once. */
function optionsBeginning({ targetUse, matches }: Modules, prefix: string): (string | Found)[] {
  const fitting: (string | Found)[] = [];
  for (const [name, letter] of LETTERS) {
    if (name.startsWith(prefix) && !fitting.includes(letter)) fitting.push(letter);
  }
  const uses: Use<unknown>[] = [...matches].reverse();
  if (targetUse !== null) uses.unshift(targetUse);
  const asked = new Set<string>();
  for (const use of uses) {
    // an earlier use of the same module is closed
    if (asked.has(use.extension.name)) continue;
    asked.add(use.extension.name);
    const keys = new Set<string>();
    for (const option of use.extension.options.values()) {
      if (!option.name.startsWith(prefix) || keys.has(option.key)) continue;
      keys.add(option.key);
      fitting.push({ use, option });
    }
  }
  return fitting;
}

/** What stands behind the options of iptables itself; "optional": a word that does not look like an option. */
const ARGUMENTS: ReadonlyMap<string, "none" | "one" | "optional"> = new Map(
  (
    [
      ["46bfnvxV", "none"],
      ["ACDEIMNPRcdgijmopst", "one"],
      ["FLSXZhwW", "optional"],
    ] as const
  ).flatMap(([letters, args]) => letters.split("").map((letter) => [letter, args] as const)),
);

const LETTERS: ReadonlyMap<string, string> = new Map([
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

function nameOf(letter: string): string {
  return [...LETTERS].find(([, of]) => of === letter)?.[0] ?? letter;
}
