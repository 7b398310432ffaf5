// Modules of which a table of options says how they are read and printed: those that are not modelled, and those whose
// meaning is read beside what is printed of them.

import { optionsOf, type Extension, type Given, type OptionForm } from "./extension.ts";
import type { Family, Hook, Match, OpaqueMatch, OpaqueTarget, TableName, Target } from "./ruleset.ts";
import { not } from "./types.ts";

export interface OpaqueForm {
  readonly name: string;
  /** In the order in which iptables-save prints them. */
  readonly options?: readonly OptionForm[];
  readonly family?: Family;
  readonly protos?: readonly number[];
  readonly tables?: readonly TableName[];
  readonly hooks?: readonly Hook[];
  /** Throws for what the module's final check refuses. */
  readonly check?: (given: Given) => void;
  /** Where iptables-save does not just print what was said. */
  readonly print?: (given: Given) => string;
}

export function opaqueMatch(form: OpaqueForm): Extension<OpaqueMatch> {
  return printedExtension(form, (options) => ({ kind: "opaque", name: form.name, options }));
}

export function opaqueTarget(form: OpaqueForm): Extension<OpaqueTarget> {
  return printedExtension(form, (options) => ({ kind: "opaque", name: form.name, options }));
}

/** A module that keeps its options as they are printed; `make` reads what they mean. */
export function printedExtension<T extends (Match | Target) & { readonly options: string }>(
  form: OpaqueForm,
  make: (options: string, given: Given) => T,
): Extension<T> {
  const { name, options = [], check, print = printGiven, hooks, ...where } = form;
  return {
    name,
    ...where,
    options: optionsOf(options),
    read(given) {
      check?.(given);
      // reads all values, and so checks them
      const said = printGiven(given);
      return make(print === printGiven ? said : print(given), given);
    },
    print: (value) => value.options,
    ...(hooks === undefined ? {} : { hooks: () => hooks }),
  };
}

/** What was said, in the order of the module's table. */
export function printGiven(given: Given): string {
  const { settings, line, family } = given;
  if (settings.length === 0) return "";
  const inOrder = [...settings].sort((a, b) => a.option.place - b.option.place);
  return inOrder
    .map((setting) => {
      const { option, argument, word } = setting;
      const { value } = option;
      if (value === null) return `${not(setting)} --${option.key}`;
      const text = value.print(value.read(line, word, argument, family), family);
      return text === value.idle && !setting.negated ? "" : `${not(setting)} --${option.key} ${text}`;
    })
    .join("");
}
