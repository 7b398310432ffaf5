// The commands of one table, in order -> its chains.
//
// Follows libiptc.c (1.8.9): chains must exist before they are named; user chains are kept sorted by name.

import type { Counters, Chain, Family, Hook, Position, Rule, Table, TableName, Target } from "./ruleset.ts";
import { BUILTIN_CHAINS, TABLES } from "./ruleset.ts";
import type { Command } from "./command.ts";
import type { Line } from "./line.ts";
import { printRule } from "./print.ts";
import type { Scope } from "./rule.ts";
import { isTargetName } from "./targets.ts";

/** A chain while its table is read. */
class ChainDraft {
  name = "";
  /** null for a user chain. */
  readonly hook: Hook | null;
  policy: "ACCEPT" | "DROP" = "ACCEPT";
  counters: Counters | null = null;
  /** Where the text defines it; null for a built-in chain. */
  readonly position: Position | null;
  /** How many rules jump or go to it. */
  references = 0;
  /** One object for all rules that name it. */
  jump: Target = { kind: "jump", chain: "" };
  goto: Target = { kind: "goto", chain: "" };
  /** Rules that were put in front of all others, the last one first, so that no insertion moves the whole chain. */
  private front: Rule[] = [];
  private back: Rule[] = [];

  constructor(name: string, hook: Hook | null, position: Position | null) {
    this.hook = hook;
    this.position = position;
    this.rename(name);
  }

  rename(name: string): void {
    this.name = name;
    this.jump = { kind: "jump", chain: name };
    this.goto = { kind: "goto", chain: name };
  }

  get count(): number {
    return this.front.length + this.back.length;
  }

  /** In order. Not to be changed. */
  get rules(): readonly Rule[] {
    if (this.front.length > 0) {
      this.back = [...this.front.reverse(), ...this.back];
      this.front = [];
    }
    return this.back;
  }

  /** @param index from 0; the rule will stand there */
  insert(index: number, rule: Rule): void {
    if (index === this.count) this.back.push(rule);
    else if (index === 0) this.front.push(rule);
    else this.inOrder().splice(index, 0, rule);
  }

  remove(index: number): Rule {
    return this.inOrder().splice(index, 1)[0]!;
  }

  change(index: number, to: (rule: Rule) => Rule): void {
    const rules = this.inOrder();
    rules[index] = to(rules[index]!);
  }

  clear(): readonly Rule[] {
    const { rules } = this;
    this.back = [];
    return rules;
  }

  private inOrder(): Rule[] {
    return this.rules as Rule[];
  }
}

/** Longest name of a chain: XT_EXTENSION_MAXNAMELEN less the NUL. */
const NAME_LENGTH = 28;

/** A table while it is read. */
export class TableDraft {
  readonly name: TableName;
  readonly position: Position;
  readonly chains = new Map<string, ChainDraft>();
  /** The lines of iptables-save that declare chains, by name. */
  private readonly declared = new Map<string, number>();
  /** Rules of which the kernel thinks that they test something, though they do not: see Scope. */
  readonly idleTests = new Set<Rule>();
  readonly scope: Scope;
  /** No prompt and no caller has said which table this is. */
  private readonly assumed: boolean;

  constructor(name: TableName, family: Family, position: Position, assumed: boolean) {
    this.name = name;
    this.position = position;
    this.assumed = assumed;
    for (const hook of BUILTIN_CHAINS[name]) this.chains.set(hook, new ChainDraft(hook, hook, null));
    this.scope = {
      family,
      table: name,
      jump: (chain) => this.userChain(chain)?.jump,
      goto: (chain) => this.userChain(chain)?.goto,
      hasIdleTest: (rule) => this.idleTests.add(rule),
    };
  }

  /** Declares the chain `name`, the first word of the line: a user chain is defined, a built-in one known. */
  declare(line: Line, name: string): void {
    const first = this.declared.get(name);
    if (first !== undefined)
      line.fail(`chain ${name} of table ${this.name} is defined twice, first in line ${first}`, 0);
    this.declared.set(name, line.number);
    if (!BUILTIN_CHAINS[this.name].includes(name as Hook)) this.define(line, name, 0);
  }

  private userChain(name: string): ChainDraft | undefined {
    const chain = this.chains.get(name);
    return chain?.hook === null ? chain : undefined;
  }

  /** Defines a user chain; `word` is the index of its name. */
  private define(line: Line, name: string, word: number): ChainDraft {
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
    if (VERDICTS.has(name) || isTargetName(name)) {
      line.fail(`a chain cannot have the name of a target, ${name}`, word);
    }
  }

  private chain(line: Line, name: string, word: number): ChainDraft {
    const chain = this.chains.get(name);
    if (chain !== undefined) return chain;
    const others = TABLES.filter((table) => BUILTIN_CHAINS[table].includes(name as Hook));
    if (others.length > 0) {
      const way = this.assumed ? "; name the table of this listing: --rules TABLE=FILE" : "";
      line.fail(`table ${this.name} has no chain ${name}; ${others.join(", ")} have one${way}`, word);
    }
    return line.fail(`no chain "${name}" is defined in table ${this.name} before this line`, word);
  }

  setPolicy(line: Line, name: string, word: number, policy: "ACCEPT" | "DROP", counters: Counters | null): void {
    const chain = this.chain(line, name, word);
    if (chain.hook === null) line.fail(`chain ${name} is not built in; only a built-in chain has a policy`, word);
    chain.policy = policy;
    chain.counters = counters;
  }

  apply(line: Line, command: Command): void {
    const { action, chain: name, word, secondWord } = command;
    if (action.kind === "skip") return;
    if (action.kind === "newChain") {
      this.define(line, name ?? "", word);
      return;
    }
    // -F, -Z and -X without a name
    if (name === null) {
      for (const chain of [...this.chains.values()]) {
        if (action.kind !== "deleteChain" || chain.hook === null) this.applyTo(line, chain, command);
      }
      return;
    }
    if (action.kind === "policy") {
      this.setPolicy(line, name, word, action.policy, action.counters);
      return;
    }
    const chain = this.chain(line, name, word);
    const most = action.kind === "insert" ? chain.count + 1 : chain.count;
    if ("number" in action && action.number > most) {
      line.fail(`chain ${name} has ${chain.count} rules; the number may be ${most} at most`, secondWord);
    }
    this.applyTo(line, chain, command);
  }

  private applyTo(line: Line, chain: ChainDraft, { action, word, secondWord }: Command): void {
    switch (action.kind) {
      case "append":
        for (const rule of action.rules) this.insert(chain, chain.count, rule);
        return;
      case "insert":
        // each at the same place, so that a list of addresses comes out backwards, as with iptables
        for (const rule of action.rules) this.insert(chain, action.number - 1, rule);
        return;
      case "replace":
        this.remove(chain, action.number - 1);
        for (const rule of action.rules) this.insert(chain, action.number - 1, rule);
        return;
      case "deleteNumber":
        this.remove(chain, action.number - 1);
        return;
      case "delete":
        for (const rule of action.rules) this.remove(chain, this.indexOfEqual(line, chain, rule, word));
        return;
      case "zeroNumber":
        chain.change(action.number - 1, (rule) => this.replaced(rule, { counters: null }));
        return;
      case "flush":
        for (const rule of chain.clear()) this.count(rule, -1);
        return;
      case "zero":
        chain.counters = null;
        for (let i = 0; i < chain.count; i++) chain.change(i, (rule) => this.replaced(rule, { counters: null }));
        return;
      case "deleteChain":
        this.delete(line, chain, word);
        return;
      case "rename":
        this.rename(line, chain, action.name, word, secondWord);
        return;
      case "policy":
      case "newChain":
      case "skip":
    }
  }

  private insert(chain: ChainDraft, index: number, rule: Rule): void {
    this.count(rule, 1);
    chain.insert(index, rule);
  }

  private remove(chain: ChainDraft, index: number): void {
    this.count(chain.remove(index), -1);
  }

  private indexOfEqual(line: Line, chain: ChainDraft, rule: Rule, word: number): number {
    // equal rules print alike; most others differ in something that is quicker to see
    const wanted = printRule(chain.name, rule, this.scope.family);
    const index = chain.rules.findIndex(
      (other) =>
        other.target?.kind === rule.target?.kind &&
        other.matches.length === rule.matches.length &&
        other.header.src?.address === rule.header.src?.address &&
        other.header.dst?.address === rule.header.dst?.address &&
        printRule(chain.name, other, this.scope.family) === wanted,
    );
    return index >= 0 ? index : line.fail(`no such rule in chain ${chain.name}: \`${wanted}\``, word);
  }

  private delete(line: Line, chain: ChainDraft, word: number): void {
    if (chain.hook !== null) line.fail(`chain ${chain.name} is built in and cannot be deleted`, word);
    if (chain.references > 0) line.fail(`chain ${chain.name} is still named by ${chain.references} rules`, word);
    if (chain.count > 0) line.fail(`chain ${chain.name} still has ${chain.count} rules`, word);
    this.chains.delete(chain.name);
  }

  private rename(line: Line, chain: ChainDraft, name: string, word: number, nameWord: number): void {
    if (chain.hook !== null) line.fail(`chain ${chain.name} is built in and cannot be renamed`, word);
    this.checkName(line, name, nameWord);
    const { jump, goto } = chain;
    this.chains.delete(chain.name);
    chain.rename(name);
    this.chains.set(name, chain);
    for (const other of this.chains.values()) {
      for (const [index, rule] of other.rules.entries()) {
        if (rule.target === jump) other.change(index, () => this.replaced(rule, { target: chain.jump }));
        if (rule.target === goto) other.change(index, () => this.replaced(rule, { target: chain.goto }));
      }
    }
  }

  private replaced(rule: Rule, change: Partial<Rule>): Rule {
    const changed = { ...rule, ...change };
    if (this.idleTests.delete(rule)) this.idleTests.add(changed);
    return changed;
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
