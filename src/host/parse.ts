// Text of HOST.json -> Host.
//
// The keys are those of kernel_oracle.py (test/oracle/README.md), taken in its order: interfaces, addresses, sysctls,
// routes, policy rules. What it, iproute2 or the kernel would refuse is a HostError, and so is what is not modelled.

import { HostError } from "./error.ts";
import { Fib } from "./fib.ts";
import { Field } from "./field.ts";
import type { Host } from "./host.ts";
import { readLinks } from "./interface.ts";
import { JsonError, parseJson, placeOf } from "./json.ts";
import type { Json } from "./json.ts";
import { readPolicy } from "./policy.ts";
import { readRoute } from "./route.ts";
import { Sysctls } from "./sysctl.ts";

const KEYS = ["interfaces", "routes", "rules", "sysctl", "conntrack", "host_stack", "comment", "name"] as const;

/** Throws HostError; `file` is what it calls the text. */
export function parseHost(text: string, file: string): Host {
  const fail = (reason: string, key: string, offset: number): never => {
    const { line, column } = placeOf(text, offset);
    throw new HostError(reason, file, line, column, key);
  };
  return readHost(new Field(read(text, fail), fail));
}

function read(text: string, fail: (reason: string, key: string, offset: number) => never): Json {
  try {
    return parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return fail(`malformed JSON: ${error.message}`, "", error.offset);
  }
}

function readHost(whole: Field): Host {
  const members = whole.membersOf(KEYS);
  const links = readLinks(members.get("interfaces"));

  const sysctls = new Sysctls(links.map(({ name }) => name));
  for (const [name, value] of members.get("sysctl")?.members() ?? []) sysctls.write(name, value);

  const fib = new Fib(links);
  for (const item of members.get("routes")?.items() ?? []) {
    const refusal = fib.add(readRoute(item, links));
    if (refusal !== null) item.fail(refusal);
  }

  return {
    interfaces: links.map(({ name, addresses, mac, mtu, up }) => ({
      ...{ name, addresses, mac, mtu, up },
      ...sysctls.of(name),
    })),
    routes: fib.routes(),
    rules: readPolicy(members.get("rules")),
    customLocalRoutes: fib.customLocalRoutes,
    ...sysctls.host(),
    conntrack: readConntrack(members.get("conntrack")),
    hostStack: members.get("host_stack")?.boolean() ?? false,
  };
}

/** `auto` leaves it to the rules. */
function readConntrack(field: Field | undefined): boolean {
  if (field === undefined || (field.json.kind === "string" && field.json.value === "auto")) return false;
  if (field.json.kind === "boolean" && field.json.value) return true;
  return field.fail('"auto" or true is wanted');
}
