// One line of a table, `-A INPUT -p tcp --dport 80 -j ACCEPT` -> what it does to the table.
//
// Follows do_parse() in iptables/xshared.c and do_command4() in iptables/iptables.c (1.8.9).

import { OptionReader, type Token } from "./getopt.ts";
import type { Line } from "./line.ts";
import { NO_DROP, RuleDraft, type Scope } from "./rule.ts";
import type { Counters, Rule } from "./ruleset.ts";

export interface Command extends Placed {
  readonly action: Action;
}

/** What to do with the chain. */
export type Action =
  | { readonly kind: "append" | "delete"; readonly rules: readonly Rule[] }
  | { readonly kind: "insert" | "replace"; readonly number: number; readonly rules: readonly Rule[] }
  | { readonly kind: "deleteNumber" | "zeroNumber"; readonly number: number }
  | { readonly kind: "flush" | "zero" | "newChain" | "deleteChain" }
  | { readonly kind: "rename"; readonly name: string }
  | { readonly kind: "policy"; readonly policy: "ACCEPT" | "DROP"; readonly counters: Counters | null }
  /** `-6` or `-4`: not for this family. */
  | { readonly kind: "skip" };

interface Placed {
  /** null: all chains. */
  readonly chain: string | null;
  /** Index of its name, or of the command; of a number or second name; for errors. */
  readonly word: number;
  readonly secondWord: number;
}

/** @param counters those in front of the line, `[packets:bytes]` */
export function readCommand(line: Line, scope: Scope, counters: Counters | null): Command {
  const reader = new OptionReader(line);
  const draft = new RuleDraft(line, scope, counters);
  let command: CommandOption | null = null;
  let negation: Token | null = null;

  for (let token = reader.next(draft); token !== null; token = reader.next(draft)) {
    const { letter, index } = token;
    if (letter === "!") {
      if (negation !== null) line.fail("two ! in a row", index);
      negation = token;
      continue;
    }
    if (letter === "?") {
      if (!draft.loadProtocolMatch(index)) draft.refuseOption(token);
      reader.again(token);
      continue;
    }
    // a line for the other family
    if ((letter === "4" || letter === "6") && Number(letter) !== scope.family) {
      return { action: { kind: "skip" }, chain: null, word: index, secondWord: index };
    }
    if (COMMANDS.includes(letter) && letter !== "") {
      if (negation !== null) line.fail("a ! cannot stand in front of a command", negation.index);
      if (command !== null) line.fail(`a second command: the line has -${command.letter} already`, index);
      command = readCommandOption(line, token, reader);
    } else if (letter === "") {
      draft.setOption(token, negation !== null, reader);
    } else {
      draft.set(token, negation !== null, reader);
    }
    negation = null;
  }

  if (negation !== null) line.fail("nothing stands behind this !", negation.index);
  if (command === null) return line.fail("no command: a rule begins with -A CHAIN", 0);
  const { chain, word, secondWord } = command;
  return { action: actionOf(line, command, draft, scope), chain, word, secondWord };
}

const COMMANDS = "ACDEFILNPRSXZ";

/** The command as written. */
interface CommandOption extends Placed {
  readonly letter: string;
  /** The rule's number. */
  readonly number: number | null;
  /** The second word of -P and -E. */
  readonly second: string;
}

function readCommandOption(line: Line, { letter, argument, index, word }: Token, reader: OptionReader): CommandOption {
  if ("CLS".includes(letter)) line.fail(`-${letter} changes nothing and has no place in a rule file`, index);
  const chain = argument ?? reader.takeOptional();
  const chainWord = argument === null && chain !== null ? reader.taken : word;
  let number: number | null = null;
  let second = "";
  if ("DRIZ".includes(letter) && chain !== null) {
    const text = reader.takeOptional();
    if (text !== null) number = readRuleNumber(line, reader.taken, text);
    else if (letter === "R") line.fail("-R needs the number of the rule", index);
  }
  if (letter === "P" || letter === "E") {
    const what = letter === "P" ? "a policy: ACCEPT or DROP" : "the new name";
    second = reader.takeOptional() ?? line.fail(`-${letter} needs ${what}`, index);
  }
  return { letter, chain, word: chainWord, secondWord: reader.taken, number, second };
}

function readRuleNumber(line: Line, word: number, text: string): number {
  const number = /^\d+$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= 0x7fffffff) return number;
  return line.fail(`"${text}" is no rule number; they count from 1`, word);
}

function actionOf(line: Line, command: CommandOption, draft: RuleDraft, scope: Scope): Action {
  const { letter, chain, word, secondWord, number, second } = command;
  if ("FZXNEP".includes(letter) || (letter === "D" && number !== null)) {
    draft.allowOnly(letter === "P" ? "c" : "", `-${letter}`, word);
  }
  switch (letter) {
    case "A":
      return { kind: "append", rules: draft.finish(chain ?? "") };
    case "I":
      return { kind: "insert", number: number ?? 1, rules: draft.finish(chain ?? "") };
    case "R": {
      const rules = draft.finish(chain ?? "");
      if (rules.length > 1) line.fail("-R replaces by one rule; a list of addresses makes several", word);
      return { kind: "replace", number: number ?? 1, rules };
    }
    case "D":
      if (number !== null) return { kind: "deleteNumber", number };
      if (draft.counters !== null) line.fail("-D takes no counters", word);
      return { kind: "delete", rules: draft.finish(chain ?? "") };
    case "P":
      if (second !== "ACCEPT" && second !== "DROP") {
        return line.fail(`"${second}" is no policy: ACCEPT or DROP`, secondWord);
      }
      if (second === "DROP" && scope.table === "nat") line.fail(NO_DROP, secondWord);
      return { kind: "policy", policy: second, counters: draft.counters };
    case "E":
      return { kind: "rename", name: second };
    case "N":
      return { kind: "newChain" };
    case "Z":
      return number === null ? { kind: "zero" } : { kind: "zeroNumber", number };
    case "F":
      return { kind: "flush" };
    default:
      return { kind: "deleteChain" };
  }
}
