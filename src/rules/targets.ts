// The target modules by name, for each family.

import type { Extension } from "./extension.ts";
import * as change from "./extensions/change.ts";
import * as connection from "./extensions/connection.ts";
import * as ipv6 from "./extensions/ipv6.ts";
import * as log from "./extensions/log.ts";
import * as nat from "./extensions/nat.ts";
import * as other from "./extensions/other.ts";
import * as reject from "./extensions/reject.ts";
import * as sets from "./extensions/sets.ts";
import type { Family, Target } from "./ruleset.ts";

const ALL: readonly Extension<Target>[] = [change, connection, ipv6, log, nat, other, reject, sets].flatMap(
  ({ TARGETS }) => TARGETS,
);

const BY_NAME: Readonly<Record<Family, ReadonlyMap<string, Extension<Target>>>> = {
  4: byName(4),
  6: byName(6),
};

function byName(family: Family): ReadonlyMap<string, Extension<Target>> {
  const own = ALL.filter((extension) => (extension.family ?? family) === family);
  return new Map(own.map((extension) => [extension.name, extension]));
}

export function targetNamed(name: string, family: Family): Extension<Target> | undefined {
  return BY_NAME[family].get(name);
}

export function targetsOf(family: Family): Iterable<Extension<Target>> {
  return BY_NAME[family].values();
}

/** No chain may bear the name of a target of either family, nor of the standard target. */
export function isTargetName(name: string): boolean {
  return BY_NAME[4].has(name) || BY_NAME[6].has(name) || name === "standard";
}
