// What a match or target module is to the parser: its options, and how their words become a Match or a Target.
//
// The names, synonyms and arguments are those of the module's libxt_ or libipt_ file in iptables 1.8.9. Options that are
// not modelled are listed too, so that abbreviations mean the same and the error can say what is missing.

import type { Line } from "./line.ts";

export interface Option {
  readonly name: string;
  /** Synonyms have the same key. */
  readonly key: string;
  /** Words that follow it. */
  readonly args: 0 | 1 | 2;
  /** May have a `!` in front. */
  readonly negatable: boolean;
  readonly modelled: boolean;
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

/** Where the settings stand, for errors. */
export interface Place {
  readonly line: Line;
  /** Index of the word that named the module. */
  readonly word: number;
}

export interface Extension<T> {
  readonly name: string;
  readonly options: ReadonlyMap<string, Option>;
  /** Throws RuleError. Every option stands at most once among the settings, and is modelled. */
  readonly read: (settings: readonly Setting[], place: Place) => T;
  /** The protocol that the rule must ask with `-p`, not negated. */
  readonly proto?: number;
  /** What it reads depends on the protocol asked before. */
  readonly asksProto?: true;
}

/** How an option is written: "sport source-port" are synonyms. */
export interface OptionForm {
  readonly names: string;
  /** 1 if left out. */
  readonly args?: 0 | 1 | 2;
  readonly negatable?: boolean;
  readonly modelled?: boolean;
}

export function optionsOf(forms: readonly OptionForm[]): ReadonlyMap<string, Option> {
  const options = new Map<string, Option>();
  for (const { names, args = 1, negatable = false, modelled = true } of forms) {
    const [key = "", ...synonyms] = names.split(" ");
    for (const name of [key, ...synonyms]) options.set(name, { name, key, args, negatable, modelled });
  }
  return options;
}
