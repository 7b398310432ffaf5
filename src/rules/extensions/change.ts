// Targets that change the packet or its mark, and let it go on.
//
// Follows libxt_MARK.c of iptables 1.8.9.

import { optionsOf, type Extension } from "../extension.ts";
import type { MarkTarget, Target } from "../ruleset.ts";
import { hex, mark, u32 } from "../types.ts";

const MARK: Extension<MarkTarget> = {
  name: "MARK",
  options: optionsOf([
    { names: "set-xmark" },
    { names: "set-mark" },
    { names: "and-mark" },
    { names: "or-mark" },
    { names: "xor-mark" },
  ]),
  read({ settings, line, word, family }) {
    const [setting, another] = settings;
    if (setting === undefined)
      return line.fail("MARK needs --set-xmark, --set-mark, --and-, --or- or --xor-mark", word);
    if (another !== undefined) line.fail("MARK takes one option", another.word);
    if (setting.key === "set-xmark" || setting.key === "set-mark") {
      const { value, mask } = mark.read(line, setting.word, setting.argument, family);
      return { kind: "MARK", value, mask: setting.key === "set-mark" ? (mask | value) >>> 0 : mask };
    }
    const bits = u32.read(line, setting.word, setting.argument, family);
    if (setting.key === "and-mark") return { kind: "MARK", value: 0, mask: ~bits >>> 0 };
    return { kind: "MARK", value: bits, mask: setting.key === "or-mark" ? bits : 0 };
  },
  print: ({ value, mask }) => ` --set-xmark ${hex(value)}/${hex(mask)}`,
};

export const TARGETS: readonly Extension<Target>[] = [MARK];
