// What a rule writes down for packets that come later, or looks up of what was written: in which memory, and how.
//
// Lists of recent, sets and buckets of hashlimit are found by name, from any rule. Buckets and counters of other matches
// belong to their rule; only where the rule stands in both rule sets can it matter that one of them asks it less often.
// What is asked is a guard (guards.ts): these notes tell that the memories behind two guards of one name stay the same.
//
// A rule asks its matches in order: a match notes something wherever those before it hold, whatever those behind it say.

import { printMatch, printTarget } from "../rules/print.ts";
import { rulesOf } from "../rules/ruleset.ts";
import type { Match, Ruleset, SetTarget } from "../rules/ruleset.ts";

export interface Note {
  /** Accesses of one memory keep their order, those of several have none. */
  readonly memory: string;
  readonly access: string;
  /** It only looks. */
  readonly reads: boolean;
}

export class Notes {
  /** Names of hashlimit that several rules share. */
  readonly #shared = new Set<string>();
  /** Sets that rules change. */
  readonly #changed = new Set<string>();

  constructor(rulesets: readonly Ruleset[]) {
    for (const ruleset of rulesets) {
      const names = new Set<string>();
      for (const { matches, target } of rulesOf(ruleset)) {
        for (const match of matches) {
          if (match.kind !== "hashlimit") continue;
          if (names.has(match.name)) this.#shared.add(match.name);
          names.add(match.name);
        }
        if (target?.kind === "SET") for (const name of changedSets(target)) this.#changed.add(name);
      }
    }
  }

  /** @param number of the rule, where both rule sets have it; null: one alone has it */
  ofMatch(match: Match, index: number, number: number | null): Note | null {
    const access = printMatch(match, 4).trim();
    const note = (memory: string): Note => ({ memory, access, reads: false });
    const own = number === null ? null : note(`${number}/${index}`);
    // what one rule set alone looks up is a guard of its own
    const look = (memory: string): Note | null =>
      number === null ? null : { memory, access: `${access} (${number}/${index})`, reads: true };
    switch (match.kind) {
      case "recent":
        return match.op === "rcheck" && !match.reap ? look(`recent ${match.name}`) : note(`recent ${match.name}`);
      case "hashlimit":
        return this.#shared.has(match.name) ? note(`hashlimit ${match.name}`) : own;
      case "set":
        return this.#changed.has(match.name) ? look(`set ${match.name}`) : null;
      case "limit":
      case "quota":
      case "connlimit":
        return own;
      case "statistic":
        return match.mode === "nth" ? own : null;
      case "opaque":
        return match.name === "connlabel" && / --set( |$)/.test(match.options) ? note("connlabel") : null;
      default:
        return null;
    }
  }
}

export function notesOfSet(target: SetTarget): readonly Note[] {
  const access = printTarget(target, 4).trim();
  return changedSets(target).map((name) => ({ memory: `set ${name}`, access, reads: false }));
}

function changedSets({ add, del }: SetTarget): readonly string[] {
  return [add, del].filter((ref) => ref !== null).map(({ name }) => name);
}

/** First the ones, then the others; by memory, so that equal ones look alike. */
export function notesTogether(first: readonly Note[], then: readonly Note[]): readonly Note[] {
  if (first.length === 0 || then.length === 0) return first.length === 0 ? then : first;
  return [...first, ...then].sort((a, b) => (a.memory < b.memory ? -1 : a.memory > b.memory ? 1 : 0));
}

/** What the memories are left with, and what was seen in between: a look before any change sees what was there before. */
export function lastingNotes(notes: readonly Note[]): readonly string[] {
  return notes
    .filter(({ memory, reads }, index) => {
      if (!reads) return true;
      return notes.slice(0, index).some((other) => other.memory === memory && !other.reads);
    })
    .map(({ access }) => access);
}
