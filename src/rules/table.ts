// The commands of one table, in order -> its chains.
//
// Follows libiptc.c (1.8.9): chains must exist before they are named; user chains are kept sorted by name.

import type { Counters, Chain, Hook, Position, Rule, Table, TableName, Target } from "./ruleset.ts";
import { BUILTIN_CHAINS } from "./ruleset.ts";
import type { Command, Scope } from "./command.ts";
import { RuleError } from "./error.ts";
import type { Line } from "./line.ts";
import { OTHER_TARGETS } from "./names.ts";
import { printRule } from "./print.ts";
import { TARGETS } from "./targets.ts";

/** A chain while its table is read. */
export class ChainDraft {
  name: string;
  /** null for a user chain. */
  readonly hook: Hook | null;
  policy: "ACCEPT" | "DROP" = "ACCEPT";
  counters: Counters | null = null;
  /** Where the text speaks of it first; null for a built-in chain that it leaves out. */
  position: Position | null;
  /** How many rules jump or go to it. */
  references = 0;
  /** One object for all rules that name it. */
  jump: Target;
  goto: Target;
  /** The rules that -I put in front of all others, the last one first; see `rules`. */
  private front: Rule[] = [];
  private back: Rule[] = [];

  constructor(name: string, hook: Hook | null, position: Position | null) {
    this.name = name;
    this.hook = hook;
    this.position = position;
    this.jump = { kind: "jump", chain: name };
    this.goto = { kind: "goto", chain: name };
  }

  get count(): number {
    return this.front.length + this.back.length;
  }

  /** In order. */
  get rules(): Rule[] {
    if (this.front.length > 0) {
      this.back = [...this.front.reverse(), ...this.back];
      this.front = [];
    }
    return this.back;
  }

  append(rule: Rule): void {
    this.back.push(rule);
  }

  /** @param index from 0; the rule will stand there */
  insert(index: number, rule: Rule): void {
    if (index === 0) this.front.push(rule);
    else if (index === this.count) this.back.push(rule);
    else this.rules.splice(index, 0, rule);
  }

  /** Takes `count` rules out and puts `rules` in their place. */
  splice(index: number, count: number, ...rules: Rule[]): Rule[] {
    return this.rules.splice(index, count, ...rules);
  }

  clear(): Rule[] {
    const rules = this.rules;
    this.back = [];
    return rules;
  }
}

/** Longest name of a chain: XT_EXTENSION_MAXNAMELEN less the NUL. */
const NAME_LENGTH = 28;

/** A table while it is read. */
export class TableDraft {
  readonly name: TableName;
  readonly position: Position;
  readonly chains = new Map<string, ChainDraft>();
  /** Rules of which the kernel thinks that they test something, though they do not: see Scope. */
  readonly idleTests = new Set<Rule>();
  readonly scope: Scope;

  constructor(name: TableName, position: Position) {
    this.name = name;
    this.position = position;
    for (const hook of BUILTIN_CHAINS[name]) this.chains.set(hook, new ChainDraft(hook, hook, null));
    this.scope = {
      table: name,
      jump: (chain) => this.userChain(chain)?.jump,
      goto: (chain) => this.userChain(chain)?.goto,
      hasIdleTest: (rule) => this.idleTests.add(rule),
    };
  }

  private userChain(name: string): ChainDraft | undefined {
    const chain = this.chains.get(name);
    return chain?.hook === null ? chain : undefined;
  }

  /** Defines a user chain; `word` is the index of its name. */
  define(line: Line, name: string, word: number): ChainDraft {
    const position = line.positionOf(word);
    this.checkName(line, name, word);
    const chain = new ChainDraft(name, null, position);
    this.chains.set(name, chain);
    return chain;
  }

  private checkName(line: Line, name: string, word: number): void {
    const known = this.chains.get(name);
    if (known?.hook === null) {
      const { line: first } = known.position ?? this.position;
      line.fail(`chain ${name} of table ${this.name} is defined twice, first in line ${first}`, word);
    }
    if (known !== undefined) line.fail(`${name} is a built-in chain of table ${this.name}`, word);
    if (name === "") line.fail("the name of the chain is empty", word);
    if (name.length > NAME_LENGTH) line.fail(`the name of a chain has ${NAME_LENGTH} characters at most`, word);
    if (name.startsWith("-") || name.startsWith("!")) {
      line.fail(`the name of a chain cannot begin with ${name[0] ?? ""}`, word);
    }
    if (/\s/.test(name)) line.fail("the name of a chain cannot hold blanks", word);
    if (VERDICTS.has(name) || TARGETS.has(name) || OTHER_TARGETS.has(name)) {
      line.fail(`a chain cannot have the name of a target, ${name}`, word);
    }
  }

  private chain(line: Line, name: string, word: number): ChainDraft {
    return (
      this.chains.get(name) ?? line.fail(`no chain "${name}" is defined in table ${this.name} before this line`, word)
    );
  }

  setPolicy(line: Line, name: string, word: number, policy: "ACCEPT" | "DROP", counters: Counters | null): void {
    const chain = this.chain(line, name, word);
    if (chain.hook === null) line.fail(`chain ${name} is not built in; only a built-in chain has a policy`, word);
    chain.policy = policy;
    chain.counters = counters;
    chain.position ??= line.positionOf(word);
  }

  apply(line: Line, command: Command): void {
    if (command.kind === "skip") return;
    const { word } = command;
    if (command.chain === null) {
      for (const chain of [...this.chains.values()]) this.applyToAll(line, chain, command.kind, word);
      return;
    }
    if (command.kind === "newChain") {
      this.define(line, command.chain, word);
      return;
    }
    const chain = this.chain(line, command.chain, word);
    switch (command.kind) {
      case "append":
        for (const rule of command.rules) {
          this.count(rule, 1);
          chain.append(rule);
        }
        return;
      case "insert":
        if (command.number > chain.count + 1) {
          line.fail(`chain ${chain.name} has ${chain.count} rules: -I takes 1 to ${chain.count + 1}`, word + 1);
        }
        // each at the same place, so that a list of addresses comes out backwards, as with iptables
        for (const rule of command.rules) {
          this.count(rule, 1);
          chain.insert(command.number - 1, rule);
        }
        return;
      case "replace":
        this.checkNumber(line, chain, command.number, word + 1);
        this.drop(chain.splice(command.number - 1, 1, ...command.rules));
        for (const rule of command.rules) this.count(rule, 1);
        return;
      case "deleteNumber":
        this.checkNumber(line, chain, command.number, word + 1);
        this.drop(chain.splice(command.number - 1, 1));
        return;
      case "delete":
        for (const rule of command.rules) this.deleteEqual(line, chain, rule, word);
        return;
      case "zeroNumber": {
        this.checkNumber(line, chain, command.number, word + 1);
        const rule = chain.rules[command.number - 1]!;
        this.drop(chain.splice(command.number - 1, 1, this.zeroed(rule)));
        this.count(rule, 1);
        return;
      }
      case "policy": {
        this.setPolicy(line, command.chain, word, command.policy as "ACCEPT" | "DROP", command.counters);
        return;
      }
      case "rename": {
        this.rename(line, chain, command.name, word);
        return;
      }
      default: {
        this.applyToAll(line, chain, command.kind, word);
        return;
      }
    }
  }

  /** -F, -Z and -X, which take one chain or, without a name, all. */
  private applyToAll(line: Line, chain: ChainDraft, kind: Command["kind"], word: number): void {
    if (kind === "flush") this.drop(chain.clear());
    if (kind === "zero") {
      chain.counters = null;
      for (const rule of chain.clear()) chain.append(this.zeroed(rule));
    }
    if (kind !== "deleteChain") return;
    const named = line.word(word) === chain.name;
    if (chain.hook !== null) {
      if (named) line.fail(`chain ${chain.name} is built in and cannot be deleted`, word);
      return;
    }
    if (chain.references > 0) line.fail(`chain ${chain.name} is still named by ${chain.references} rules`, word);
    if (chain.count > 0) line.fail(`chain ${chain.name} still has ${chain.count} rules`, word);
    this.chains.delete(chain.name);
  }

  private checkNumber(line: Line, chain: ChainDraft, number: number, word: number): void {
    if (number > chain.count) line.fail(`chain ${chain.name} has ${chain.count} rules, no rule ${number}`, word);
  }

  private deleteEqual(line: Line, chain: ChainDraft, rule: Rule, word: number): void {
    // equal rules print alike
    const wanted = printRule(chain.name, rule);
    const index = chain.rules.findIndex((other) => printRule(chain.name, other) === wanted);
    if (index < 0) line.fail(`no such rule in chain ${chain.name}: \`${wanted}\``, word);
    this.drop(chain.splice(index, 1));
  }

  private rename(line: Line, chain: ChainDraft, name: string, word: number): void {
    if (chain.hook !== null) line.fail(`chain ${chain.name} is built in and cannot be renamed`, word);
    this.checkName(line, name, word + 1);
    const { jump, goto } = chain;
    this.chains.delete(chain.name);
    chain.name = name;
    chain.jump = { kind: "jump", chain: name };
    chain.goto = { kind: "goto", chain: name };
    this.chains.set(name, chain);
    for (const other of this.chains.values()) {
      other.rules.forEach((rule, index) => {
        if (rule.target !== jump && rule.target !== goto) return;
        other.splice(index, 1, this.replaced(rule, { target: rule.target === jump ? chain.jump : chain.goto }));
      });
    }
  }

  private zeroed(rule: Rule): Rule {
    return rule.counters === null ? rule : this.replaced(rule, { counters: null });
  }

  private replaced(rule: Rule, change: Partial<Rule>): Rule {
    const changed = { ...rule, ...change };
    if (this.idleTests.delete(rule)) this.idleTests.add(changed);
    return changed;
  }

  private drop(rules: readonly Rule[]): void {
    for (const rule of rules) this.count(rule, -1);
  }

  private count(rule: Rule, step: 1 | -1): void {
    if (rule.target?.kind !== "jump" && rule.target?.kind !== "goto") return;
    const chain = this.chains.get(rule.target.chain);
    if (chain === undefined) throw new Error(`jump to an unknown chain ${rule.target.chain}`);
    chain.references += step;
  }

  /** The table as read. Its rules are not checked yet as the kernel would. */
  finish(): Table {
    const chains = [...this.chains.values()];
    const builtin = chains.filter((chain) => chain.hook !== null);
    const user = chains.filter((chain) => chain.hook === null).sort((a, b) => (a.name < b.name ? -1 : 1));
    return {
      name: this.name,
      position: this.position,
      chains: [...builtin, ...user].map((chain): Chain => ({
        name: chain.name,
        policy: chain.hook === null ? null : chain.policy,
        counters: chain.counters,
        rules: chain.rules,
      })),
    };
  }
}

const VERDICTS: ReadonlySet<string> = new Set(["ACCEPT", "DROP", "RETURN"]);

/** Throws if the table was given before. */
export function refuseTwice(tables: readonly Table[], name: TableName, position: Position, text: string): void {
  const first = tables.find((table) => table.name === name);
  if (first === undefined) return;
  const { file, line } = first.position;
  throw new RuleError(`table ${name} stands twice, first in ${file}:${line}`, position, text, text.trimEnd().length);
}
