// Policy rules of HOST.json, the words of `ip rule add` or an object of them -> all rules, the kernel's own included.
//
// Words as iprule_modify() of iproute2 (ip/iprule.c) reads them. Order and default priorities: fib_nl_newrule() and
// fib_default_rule_pref() in net/core/fib_rules.c.

import { prefixMask } from "../net/address.ts";
import { parseNumber } from "../net/number.ts";
import type { Field } from "./field.ts";
import { RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN } from "./host.ts";
import type { PolicyRule } from "./host.ts";
import { readTable } from "./route.ts";
import { Words } from "./words.ts";

const KEYS = ["from", "to", "iif", "oif", "fwmark", "tos", "priority", "table"];

export function readPolicy(list: Field | undefined): readonly PolicyRule[] {
  const rules = [own(0, RT_TABLE_LOCAL), own(32766, RT_TABLE_MAIN), own(32767, RT_TABLE_DEFAULT)];
  for (const item of list?.items() ?? []) {
    const { priority: asked, ...read } = readRule(item);
    // before the second rule, so that it is asked after the local table
    const priority = asked ?? Math.max(0, (rules[1]?.priority ?? 0) - 1);
    const rule: PolicyRule = { priority, ...read };
    if (rules.some((other) => passesFor(other, rule))) item.fail("there is such a rule already");
    const behind = rules.findIndex((other) => other.priority > priority);
    rules.splice(behind < 0 ? rules.length : behind, 0, rule);
  }
  return rules;
}

/**
 * rule_exists() in net/core/fib_rules.c, fib4_rule_compare() in net/ipv4/fib_rules.c: a rule that does not say `from` or
 * `to` is taken for one that does, and nobody looks for `not`.
 */
function passesFor(other: PolicyRule, rule: PolicyRule): boolean {
  const { from, to } = rule;
  const rest = { from: from ?? other.from, to: to ?? other.to, negated: other.negated };
  return JSON.stringify(other) === JSON.stringify({ ...rule, ...rest });
}

function own(priority: number, table: number): PolicyRule {
  const free = { negated: false, from: null, to: null, iif: null, oif: null, fwmark: null };
  return { priority, ...free, action: { kind: "table", table } };
}

function readRule(item: Field): Omit<PolicyRule, "priority"> & { readonly priority: number | null } {
  const words = new Words(item, KEYS, []);
  let priority: number | null = null;
  let negated = false;
  let from: PolicyRule["from"] = null;
  let to: PolicyRule["to"] = null;
  let iif: string | null = null;
  let oif: string | null = null;
  let fwmark: PolicyRule["fwmark"] = null;
  let action: PolicyRule["action"] = { kind: "table", table: RT_TABLE_MAIN };
  if (words.atEnd()) words.fail("a policy rule has at least an action or a condition");
  while (!words.atEnd()) {
    const word = words.take("a word");
    switch (word) {
      case "not":
        negated = true;
        break;
      case "from":
        from = readPrefix(words);
        break;
      case "to":
        to = readPrefix(words);
        break;
      case "iif":
      case "dev":
        iif = words.take("the interface");
        break;
      case "oif":
        oif = words.take("the interface");
        break;
      case "fwmark":
        fwmark = readMark(words);
        break;
      case "priority":
      case "prio":
      case "preference":
      case "pref":
      case "order":
        priority = words.number(word, 0xffffffff);
        break;
      case "table":
      case "lookup":
        action = { kind: "table", table: readTable(words) };
        break;
      case "type":
        break;
      case "blackhole":
      case "unreachable":
      case "prohibit":
        action = { kind: word };
        break;
      case "proto":
      case "protocol":
        words.take("the routing protocol");
        break;
      default:
        words.fail(`"${word}": unknown, or not modelled`);
    }
  }
  return { priority, negated, from, to, iif, oif, fwmark, action };
}

function readPrefix(words: Words): PolicyRule["from"] {
  const { address, prefixLength } = words.prefix("prefix");
  return prefixLength === 0 ? null : { address: (address & prefixMask(prefixLength)) >>> 0, prefixLength };
}

/** Without a mask all bits are compared, or none if the value is 0. */
function readMark(words: Words): PolicyRule["fwmark"] {
  const text = words.take("the mark");
  const [left, right, ...more] = text.split("/");
  const value = parseNumber(left!, 0xffffffff);
  const mask = right === undefined ? (value === 0 ? 0 : 0xffffffff) : parseNumber(right, 0xffffffff);
  if (value === null || mask === null || more.length > 0)
    return words.fail(`mark "${text}": VALUE or VALUE/MASK is wanted`);
  return { value, mask };
}
