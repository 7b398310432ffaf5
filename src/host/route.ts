// One route of HOST.json, the words of `ip route add` or an object of them -> what shall be added.
//
// Words as iproute_modify() of iproute2 (ip/iproute.c) reads them, defaults as it fills them in.

import { parseNumber } from "../net/number.ts";
import type { NewRoute } from "./fib.ts";
import { leadsNowhere } from "./fib.ts";
import type { Field } from "./field.ts";
import { RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN } from "./host.ts";
import type { Route, RouteType } from "./host.ts";
import type { Link } from "./interface.ts";
import { Words } from "./words.ts";

const KEYS = ["type", "dst", "via", "dev", "src", "table", "metric", "scope", "onlink", "mtu"];
const TYPES: readonly RouteType[] = ["unicast", "local", "broadcast", "unreachable", "blackhole", "prohibit", "throw"];
const NOT_MODELLED = ["multicast", "anycast", "nat"];
const SCOPES: Readonly<Record<string, Route["scope"]>> = {
  global: "global",
  universe: "global",
  link: "link",
  host: "host",
};
const TABLES: Readonly<Record<string, number>> = {
  main: RT_TABLE_MAIN,
  local: RT_TABLE_LOCAL,
  default: RT_TABLE_DEFAULT,
};

export function readRoute(item: Field, links: readonly Link[]): NewRoute {
  const words = new Words(item, KEYS, ["type", "dst"]);
  const type = readType(words);
  words.sees("to");
  const { address: dst, prefixLength } = words.prefix("destination");
  let iface: number | null = null;
  let via: number | null = null;
  let table: number | null = null;
  let metric = 0;
  let src: number | null = null;
  let scope: Route["scope"] | null = null;
  let mtu: number | null = null;
  let onlink = false;
  while (!words.atEnd()) {
    const word = words.take("a word");
    switch (word) {
      case "via":
        words.sees("inet");
        via = words.address("gateway");
        break;
      case "dev":
      case "oif":
        iface = readInterface(words, links);
        break;
      case "table":
        table = readTable(words);
        break;
      case "metric":
      case "priority":
      case "preference":
        metric = words.number(word, 0xffffffff);
        break;
      case "src":
        src = words.address("src");
        break;
      case "scope":
        scope = SCOPES[words.take("scope")] ?? words.fail("a scope is global, link or host");
        break;
      case "mtu":
        words.sees("lock");
        mtu = words.number("mtu", 65535);
        break;
      case "onlink":
        onlink = true;
        break;
      case "proto":
      case "protocol":
        words.take("the routing protocol");
        break;
      case "nexthop":
      case "nhid":
        words.fail("routes over several gateways are not modelled: write one with via and dev");
        break;
      default:
        words.fail(`"${word}": unknown, or not modelled`);
    }
  }
  if (type === "local" && mtu !== null && mtu > 0) words.fail("an mtu of a local route is not modelled");
  const forAddresses = type === "local" || type === "broadcast";
  return {
    table: table ?? (forAddresses ? RT_TABLE_LOCAL : RT_TABLE_MAIN),
    dst,
    prefixLength,
    type,
    iface,
    via,
    metric,
    src,
    scope: scope ?? defaultScope(type, via),
    mtu: mtu === 0 ? null : mtu,
    onlink,
  };
}

function readType(words: Words): RouteType {
  const word = words.peek();
  if (NOT_MODELLED.includes(word)) {
    words.take("type");
    words.fail(`routes of type ${word} are not modelled`);
  }
  const type = TYPES.find((one) => one === word);
  if (type === undefined) return "unicast";
  words.take("type");
  return type;
}

function defaultScope(type: RouteType, via: number | null): Route["scope"] {
  if (type === "local") return "host";
  if (type === "broadcast") return "link";
  return leadsNowhere(type) || via !== null ? "global" : "link";
}

function readInterface(words: Words, links: readonly Link[]): number {
  const name = words.take("the interface");
  const index = links.findIndex((link) => link.name === name);
  return index >= 0 ? index : words.fail(`there is no interface "${name}"`);
}

/** A name of /etc/iproute2/rt_tables as it comes, or a number. */
export function readTable(words: Words): number {
  const text = words.take("the table");
  const table = TABLES[text] ?? parseNumber(text, 0xffffffff);
  if (table === null) return words.fail(`table "${text}": a number, or main, local or default is wanted`);
  if (table === 0) return words.fail("there is no table 0");
  return table;
}
