// What a match or target module is to the parser: its options, how their words become a Match or a Target, where the
// kernel lets it stand, and how iptables-save prints it.
//
// The names, synonyms and arguments are those of the module's libxt_, libipt_ or libip6t_ file in iptables 1.8.9.

import type { Line } from "./line.ts";
import type { Family, Hook, Match, TableName } from "./ruleset.ts";
import type { Value } from "./types.ts";

export interface Option {
  readonly name: string;
  /** Synonyms have the same key. */
  readonly key: string;
  /** Words that follow it. */
  readonly args: 0 | 1 | 2;
  /** May have a `!` in front. */
  readonly negatable: boolean;
  /** Takes the next word if it looks like none of an option. */
  readonly optional: boolean;
  /** May stand several times. */
  readonly multiple: boolean;
  readonly required: boolean;
  /** Keys of options that may not, or must, stand beside it. */
  readonly excludes: readonly string[];
  readonly needs: readonly string[];
  readonly value: Value<unknown> | null;
  /** Its place in the module's table. */
  readonly place: number;
}

/** One use of an option in a rule. */
export interface Setting {
  readonly option: Option;
  readonly key: string;
  /** Empty where the option has none. */
  readonly argument: string;
  /** The second word of `--tcp-flags`; empty otherwise. */
  readonly second: string;
  readonly negated: boolean;
  /** Index of the argument, or of the option where it has none. */
  readonly word: number;
  /** What `-p` had said before this option; 0: nothing. */
  readonly proto: number;
  readonly protoNegated: boolean;
}

/** What a module was told in a rule, and where, for errors. */
export class Given {
  readonly settings: readonly Setting[];
  readonly line: Line;
  /** Index of the word that named the module. */
  readonly word: number;
  readonly family: Family;

  constructor(settings: readonly Setting[], line: Line, word: number, family: Family) {
    this.settings = settings;
    this.line = line;
    this.word = word;
    this.family = family;
  }

  find(key: string): Setting | undefined {
    return this.settings.find((setting) => setting.key === key);
  }

  has(key: string): boolean {
    return this.find(key) !== undefined;
  }

  /** Throws if it is not there. */
  need(key: string): Setting {
    return this.find(key) ?? this.line.fail(`this module needs --${key}`, this.word);
  }

  negated(key: string): boolean {
    return this.find(key)?.negated === true;
  }

  /** The option's argument; undefined if it is not there. Throws RuleError. */
  get<T>(key: string, value: Value<T>): T | undefined {
    const setting = this.find(key);
    return setting === undefined ? undefined : value.read(this.line, setting.word, setting.argument, this.family);
  }

  /** The same with whether it is negated; null if it is not there. */
  test<T extends object>(key: string, value: Value<T>): (T & { readonly negated: boolean }) | null {
    const got = this.get(key, value);
    return got === undefined ? null : { ...got, negated: this.negated(key) };
  }

  /** Throws with the caret under the module's name, or under an option's argument. */
  fail(reason: string, key?: string): never {
    return this.line.fail(reason, (key === undefined ? undefined : this.find(key))?.word ?? this.word);
  }
}

export interface Extension<T> {
  readonly name: string;
  readonly options: ReadonlyMap<string, Option>;
  /** Throws RuleError. What its options ask of each other holds already. */
  readonly read: (given: Given) => T;
  /** The options as iptables-save prints them, each with a blank before it. */
  print(value: T): string;
  /** Undefined: both. */
  readonly family?: Family;
  /** The protocols one of which the rule must ask with `-p`, not negated. */
  readonly protos?: readonly number[];
  /** The same, where it depends on what was said. */
  protosOf?(value: T): readonly number[] | null;
  /** Why it cannot stand in a rule with these matches; null: it can. */
  objection?(value: T, matches: readonly Match[]): string | null;
  /** What it reads depends on the protocol asked before. */
  readonly asksProto?: true;
  /** Undefined: all. */
  readonly tables?: readonly TableName[];
  /** The same, where it depends on what was said; null: all. */
  tablesOf?(value: T): readonly TableName[] | null;
  /** From where it may be reached; undefined: from everywhere. */
  hooks?(value: T): readonly Hook[] | null;
}

/** How an option is written: "sport source-port" are synonyms. */
export interface OptionForm {
  readonly names: string;
  /** 1 if left out. */
  readonly args?: 0 | 1 | 2;
  readonly negatable?: boolean;
  readonly optional?: boolean;
  readonly multiple?: boolean;
  readonly required?: boolean;
  /** Keys, with blanks between them. */
  readonly excludes?: string;
  readonly needs?: string;
  /** For modules that are parsed and printed alone, see opaque.ts. */
  readonly value?: Value<unknown>;
}

export function optionsOf(forms: readonly OptionForm[]): ReadonlyMap<string, Option> {
  const options = new Map<string, Option>();
  for (const [place, form] of forms.entries()) {
    const [key = "", ...synonyms] = form.names.split(" ");
    for (const name of [key, ...synonyms]) {
      options.set(name, {
        name,
        key,
        args: form.args ?? 1,
        negatable: form.negatable ?? false,
        optional: form.optional ?? false,
        multiple: form.multiple ?? false,
        required: form.required ?? false,
        excludes: wordsOf(form.excludes),
        needs: wordsOf(form.needs),
        value: form.value ?? null,
        place,
      });
    }
  }
  return options;
}

function wordsOf(text: string | undefined): readonly string[] {
  return text === undefined ? [] : text.split(" ");
}

/** What options ask of each other (xtables_option_metavalidate() and xtables_options_fcheck()). */
export function checkOptions({ name, options }: Extension<unknown>, given: Given): void {
  for (const { option, word } of given.settings) {
    const other = option.excludes.find((key) => key !== option.key && given.has(key));
    if (other !== undefined) given.line.fail(`--${option.name} and --${other} cannot stand together`, word);
    const missing = option.needs.find((key) => !given.has(key));
    if (missing !== undefined) given.line.fail(`--${option.name} needs --${missing}`, word);
  }
  for (const option of options.values()) {
    if (option.required && !given.has(option.key)) given.fail(`${name} needs --${option.key}`);
  }
}
