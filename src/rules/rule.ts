// The options of one rule, as they are read -> the Rule, or the several that a list of addresses makes.
//
// Follows do_parse() and ipv4_post_parse() in iptables/xshared.c (1.8.9). What the kernel's modules refuse of a single
// rule is refused here too; what depends on the way to it, in check.ts.

import { parsePrintedNetwork } from "../net/address.ts";
import { formatProtocol, parseProtocol, PROTO_TCP } from "../net/protocol.ts";
import { parseDecimal64 } from "../net/number.ts";
import { Use, type Modules, type OptionReader, type Token } from "./getopt.ts";
import type { Line } from "./line.ts";
import { checkOptions, Given, type Extension } from "./extension.ts";
import { matchesOf, matchNamed, protocolMissing } from "./matches.ts";
import { OLD_NEGATION } from "./names.ts";
import { BUILTIN_CHAINS } from "./ruleset.ts";
import type {
  Address6Test,
  AddressTest,
  Counters,
  Family,
  Header,
  InterfaceTest,
  Match,
  Rule,
  TableName,
  Target,
} from "./ruleset.ts";
import { sharedAddress, SharedBySetting, sharedFragment, sharedHeader, sharedInterface, sharedProto } from "./share.ts";
import { targetNamed, targetsOf } from "./targets.ts";
import { readAddresses, readAddresses6, readInterface } from "./values.ts";

/** What a rule may refer to. */
export interface Scope {
  readonly family: Family;
  readonly table: TableName;
  /** The jump to a user chain of the table; undefined if it is not defined so far. */
  readonly jump: (chain: string) => Target | undefined;
  readonly goto: (chain: string) => Target | undefined;
  /** Told of a rule that tests what is always true, `-i +`: to the kernel it is not unconditional. */
  readonly hasIdleTest: (rule: Rule) => void;
}

/** Letters of options that may stand once, and of those that may be negated. */
const ONCE = "sdiopfjc";
const NEGATABLE = "sdiopf";

/** A rule while its options are read. */
export class RuleDraft implements Modules {
  readonly matches: Use<Match>[] = [];
  targetUse: Use<Target> | null = null;
  counters: Counters | null;
  private readonly line: Line;
  private readonly scope: Scope;
  /** Bit n for letter n of ONCE. */
  private seen = 0;
  private src: Addresses | null = null;
  private dst: Addresses | null = null;
  private inIface: InterfaceTest | null = null;
  private outIface: InterfaceTest | null = null;
  /** Where -i and -o stand. */
  private inWord = -1;
  private outWord = -1;
  private proto = 0;
  private protoNegated = false;
  private protoGiven = false;
  /** The protocol's match was loaded for one of its options. */
  private protoUsed = false;
  private fragment: Header["fragment"] = null;
  private target: Target | null = null;

  /** @param counters those in front of the line, `[packets:bytes]` */
  constructor(line: Line, scope: Scope, counters: Counters | null) {
    this.line = line;
    this.scope = scope;
    this.counters = counters;
  }

  /** An option of iptables itself that belongs to a rule. */
  set(token: Token, negated: boolean, reader: OptionReader): void {
    const { line } = this;
    const { letter, index, word } = token;
    const text = token.argument ?? "";
    // a rule has one target, whether by -j or by -g
    const once = ONCE.indexOf(letter === "g" ? "j" : letter);
    if (once >= 0 && this.seen & (1 << once)) line.fail(`a second -${letter}`, index);
    if (once >= 0) this.seen |= 1 << once;
    if (negated && !NEGATABLE.includes(letter)) line.fail(`-${letter} cannot be negated`, index);
    switch (letter) {
      case "s":
        this.src = { text, word, negated };
        break;
      case "d":
        this.dst = { text, word, negated };
        break;
      case "i":
        this.inIface = sharedInterface(text, negated, () => readInterface(line, word, text, negated));
        this.inWord = index;
        break;
      case "o":
        this.outIface = sharedInterface(text, negated, () => readInterface(line, word, text, negated));
        this.outWord = index;
        break;
      case "p":
        this.setProtocol(text, word, negated);
        break;
      case "f":
        this.fragment = sharedFragment(negated);
        break;
      case "m":
        this.addMatch(text, word);
        break;
      case "j":
        this.setJump(text, word);
        break;
      case "g":
        this.target = this.scope.goto(text) ?? line.fail(`-g goes to a chain defined before; "${text}" is none`, word);
        break;
      case "c":
        this.setCounters(text, token, reader);
        break;
      case "4":
      case "6":
      case "v":
        break;
      case "t":
        return line.fail("-t is not allowed here: a rule belongs to the table it stands in", index);
      default:
        return line.fail(`-${letter} has no place in a rule file`, index);
    }
  }

  private setProtocol(text: string, word: number, negated: boolean): void {
    if (text === "!") this.line.fail(OLD_NEGATION, word);
    const proto =
      parseProtocol(text) ??
      this.line.fail(`"${text}" is no protocol: 0..255 or a name of /etc/protocols, as Debian has it`, word);
    if (proto === 0 && negated) this.line.fail("`! -p all` would match nothing", word);
    this.proto = proto;
    this.protoNegated = negated;
    this.protoGiven = true;
  }

  private addMatch(name: string, word: number): void {
    const { family } = this.scope;
    const match = matchNamed(name, family);
    if (match !== undefined) {
      this.matches.push(new Use(match, word));
      return;
    }
    const other = family === 4 ? 6 : 4;
    if (matchNamed(name, other) !== undefined) {
      this.line.fail(`match ${name} is of IPv${other}, and these rules are of IPv${family}`, word);
    }
    if (name === "!") this.line.fail("-m cannot be negated; the ! belongs to one of its options", word);
    this.line.fail(`there is no match "${name}" in iptables 1.8.9`, word);
  }

  private setJump(name: string, word: number): void {
    const { line, scope } = this;
    const verdict = VERDICTS.get(name);
    const extension = targetNamed(name, scope.family);
    if (verdict !== undefined) this.target = verdict;
    else if (extension !== undefined) this.targetUse = new Use(extension, word);
    else this.target = scope.jump(name) ?? this.refuseTarget(name, word);
    if (name === "DROP" && scope.table === "nat") line.fail(NO_DROP, word);
  }

  private refuseTarget(name: string, word: number): never {
    const { line, scope } = this;
    const other = scope.family === 4 ? 6 : 4;
    if (targetNamed(name, other) !== undefined) {
      return line.fail(`target ${name} is of IPv${other}, and these rules are of IPv${scope.family}`, word);
    }
    if ((BUILTIN_CHAINS[scope.table] as readonly string[]).includes(name)) {
      return line.fail(`${name} is a built-in chain; nothing can jump to it`, word);
    }
    if (name === "") return line.fail("the name of the target is empty", word);
    if (name === "!") return line.fail("-j cannot be negated", word);
    return line.fail(`no chain "${name}" is defined in table ${scope.table} before this line`, word);
  }

  /** `-c PACKETS BYTES` or `-c PACKETS,BYTES`. */
  private setCounters(text: string, { index, word }: Token, reader: OptionReader): void {
    const { line } = this;
    if (this.counters !== null) line.fail("the counters of this rule stand in front of it already", index);
    const comma = text.indexOf(",");
    const packets = comma < 0 ? text : text.slice(0, comma);
    const bytes = comma < 0 ? reader.takeOptional() : text.slice(comma + 1);
    if (bytes === null) return line.fail("-c needs packets and bytes", index);
    this.counters = {
      packets: parseDecimal64(packets) ?? line.fail(`"${packets}" is no number of packets`, word),
      bytes: parseDecimal64(bytes) ?? line.fail(`"${bytes}" is no number of bytes`, reader.taken),
    };
  }

  /** An option of one of the rule's modules. */
  setOption({ found, argument, index, word }: Token, negated: boolean, reader: OptionReader): void {
    const { line, proto, protoNegated } = this;
    const { use, option } = found!;
    const name = `--${option.name}`;
    let second = "";
    const given = option.optional ? (reader.takeOptional() ?? "") : (argument ?? "");
    if (option.args === 2) {
      if (argument === "!") line.fail(OLD_NEGATION, word);
      second = reader.takeOptional() ?? line.fail(`${name} takes two words`, index);
    }
    const twice = !option.multiple && use.settings.some((setting) => setting.key === option.key);
    if (twice) line.fail(`${name} stands twice`, index);
    if (negated && !option.negatable) line.fail(`${name} cannot be negated`, index);
    use.settings.push({
      option,
      key: option.key,
      argument: given,
      second,
      negated,
      word,
      proto,
      protoNegated,
    });
  }

  /** `-p tcp --dport 80`: the match is loaded where the first of its options stands. False if there is none to load. */
  loadProtocolMatch(index: number): boolean {
    const match =
      this.protoGiven && !this.protoUsed ? matchNamed(formatProtocol(this.proto), this.scope.family) : undefined;
    if (match === undefined) return false;
    this.protoUsed = true;
    this.matches.push(new Use(match, index));
    return true;
  }

  refuseOption({ argument, index }: Token): never {
    const name = argument ?? "";
    const owners = [
      ...[...matchesOf(this.scope.family)]
        .filter(({ options }) => options.has(name))
        .map((match) => `-m ${match.name}`),
      ...[...targetsOf(this.scope.family)]
        .filter(({ options }) => options.has(name))
        .map((target) => `-j ${target.name}`),
    ];
    if (owners.length === 0) return this.line.fail(`unknown option --${name}`, index);
    return this.line.fail(`--${name} must stand behind ${owners.join(" or ")}`, index);
  }

  /** For commands that take no rule: throws if there is more than the options of these letters. */
  allowOnly(letters: string, command: string, word: number): void {
    const stray = ONCE.split("").find((letter, bit) => this.seen & (1 << bit) && !letters.includes(letter));
    if (stray !== undefined) this.line.fail(`${command} does not go with -${stray}`, word);
    const [match] = this.matches;
    if (match !== undefined) this.line.fail(`${command} does not go with a match`, match.word);
  }

  finish(chain: string): Rule[] {
    const { line, scope, fragment, counters } = this;
    if (this.outWord >= 0 && (chain === "PREROUTING" || chain === "INPUT")) {
      line.fail(`iptables allows no -o in ${chain}`, this.outWord);
    }
    if (this.inWord >= 0 && (chain === "POSTROUTING" || chain === "OUTPUT")) {
      line.fail(`iptables allows no -i in ${chain}`, this.inWord);
    }
    const target = this.finishTarget();
    const matches = this.finishMatches();
    this.checkTarget(target, matches);
    // `-i +` tests nothing, and iptables-save forgets it
    const inIface = isIdle(this.inIface) ? null : this.inIface;
    const outIface = isIdle(this.outIface) ? null : this.outIface;
    const proto = sharedProto(this.proto, this.protoNegated);

    const six = scope.family === 6;
    const sources = six ? readTests6(line, this.src) : readTests(line, this.src);
    const destinations = six ? readTests6(line, this.dst) : readTests(line, this.dst);
    const negated = this.src?.negated === true ? this.src : this.dst?.negated === true ? this.dst : null;
    if (negated !== null && (sources.length > 1 || destinations.length > 1)) {
      line.fail("iptables allows no negated address in a rule with a list of addresses", negated.word);
    }

    const rules: Rule[] = [];
    const position = line.positionOf(0);
    for (const src of sources) {
      for (const dst of destinations) {
        const header = sharedHeader(...addressesOf(src, dst), inIface, outIface, proto, fragment);
        const rule: Rule = { header, matches, target, counters, position, text: line.text };
        rules.push(rule);
        if (inIface !== this.inIface || outIface !== this.outIface) scope.hasIdleTest(rule);
      }
    }
    return rules;
  }

  private finishTarget(): Target | null {
    if (this.targetUse === null) return this.target;
    const { line } = this;
    const { extension, settings, word } = this.targetUse;
    this.checkPlace(extension, word);
    const target = sharedTargets[this.scope.family].get(extension, settings, () => this.read(this.targetUse!));
    const reset = target.kind === "REJECT" ? target.with === "tcp-reset" : target.kind === "opaque" && isReset6(target);
    if (reset && (this.proto !== PROTO_TCP || this.protoNegated)) {
      line.fail("tcp-reset needs -p tcp, not negated", settings[0]?.word ?? word);
    }
    return target;
  }

  private checkTarget(target: Target | null, matches: readonly Match[]): void {
    if (this.targetUse === null || target === null) return;
    const { extension, word } = this.targetUse;
    const objection = extension.objection?.(target, matches);
    if (objection) this.line.fail(objection, word);
    const tables = extension.tablesOf?.(target) ?? null;
    if (tables !== null) this.checkPlace({ name: `${extension.name} as it stands here`, tables }, word);
    this.checkProtocol(extension.name, extension.protosOf?.(target) ?? null, word);
  }

  private read<T>({ extension, settings, word }: Use<T>): T {
    const given = new Given(settings, this.line, word, this.scope.family);
    checkOptions(extension, given);
    return extension.read(given);
  }

  /** The table, and the protocol that the rule asks (xt_check_match() and xt_check_target() in x_tables.c). */
  private checkPlace(
    { name, tables, protos }: Pick<Extension<unknown>, "name" | "tables" | "protos">,
    word: number,
  ): void {
    const { table } = this.scope;
    if (tables?.includes(table) === false) {
      this.line.fail(`${name} is not allowed in table ${table}, only in ${tables.join(" and ")}`, word);
    }
    this.checkProtocol(name, protos ?? null, word);
  }

  private checkProtocol(name: string, protos: readonly number[] | null, word: number): void {
    if (protos !== null && (this.protoNegated || !protos.includes(this.proto))) {
      this.line.fail(protocolMissing(name, protos), word);
    }
  }

  private finishMatches(): readonly Match[] {
    const [first, ...others] = this.matches;
    if (first === undefined) return NO_MATCHES;
    const matches = this.finishMatch(first);
    return others.length === 0 ? matches : [...matches, ...others.flatMap((use) => this.finishMatch(use))];
  }

  /** The match in a list of its own, which serves rules that have no other. */
  private finishMatch(use: Use<Match>): readonly Match[] {
    const { extension, settings, word } = use;
    this.checkPlace(extension, word);
    const read = () => [this.read(use)];
    // comments are seldom alike
    const matches =
      extension.name === "comment" ? read() : sharedMatches[this.scope.family].get(extension, settings, read);
    if (extension.protosOf !== undefined) this.checkProtocol(extension.name, extension.protosOf(matches[0]!), word);
    return matches;
  }
}

interface Addresses {
  readonly text: string;
  readonly word: number;
  readonly negated: boolean;
}

export const NO_DROP = "DROP is not allowed in the nat table: it is not for filtering";

const VERDICTS: ReadonlyMap<string, Target> = new Map([
  ["ACCEPT", { kind: "ACCEPT" }],
  ["DROP", { kind: "DROP" }],
  ["RETURN", { kind: "RETURN" }],
]);

function isReset6({ name, options }: Extract<Target, { kind: "opaque" }>): boolean {
  return name === "REJECT" && options.endsWith("tcp-reset");
}

const NO_MATCHES: readonly Match[] = [];
const NO_ADDRESSES: readonly (AddressTest | null)[] = [null];
const sharedMatches = { 4: new SharedBySetting<readonly Match[]>(), 6: new SharedBySetting<readonly Match[]>() };
const sharedTargets = { 4: new SharedBySetting<Target>(), 6: new SharedBySetting<Target>() };

function isIdle(test: InterfaceTest | null): boolean {
  return test !== null && test.wildcard && test.name === "" && !test.negated;
}

function readTests(line: Line, given: Addresses | null): readonly (AddressTest | null)[] {
  if (given === null) return NO_ADDRESSES;
  const { text, word, negated } = given;
  const printed = parsePrintedNetwork(text);
  if (printed !== null) return [sharedAddress(printed.address, printed.mask, negated)];
  return readAddresses(line, word, text, negated).map((test) => sharedAddress(test.address, test.mask, negated));
}

function readTests6(line: Line, given: Addresses | null): readonly (Address6Test | null)[] {
  if (given === null) return NO_ADDRESSES as readonly null[];
  const { text, word, negated } = given;
  return readAddresses6(line, word, text, negated).map((test) => (test.mask === 0n && !negated ? null : test));
}

/** The addresses of a header, in the places of their family. */
function addressesOf(
  src: AddressTest | Address6Test | null,
  dst: AddressTest | Address6Test | null,
): [AddressTest | null, AddressTest | null, Header["v6"]] {
  const four = (test: typeof src): AddressTest | null =>
    typeof test?.address === "number" ? (test as AddressTest) : null;
  const six = (test: typeof src): Address6Test | null =>
    typeof test?.address === "bigint" ? (test as Address6Test) : null;
  const v6 = six(src) === null && six(dst) === null ? null : { src: six(src), dst: six(dst) };
  return [four(src), four(dst), v6];
}
