// print: RULES -> the text that iptables-save would print, from the parsed rules alone.

import type { Command } from "commander";
import { printRuleset } from "../rules/print.ts";
import { refuseSharedInput } from "./files.ts";
import { addRules, loadRuleset, rulePaths } from "./rulesets.ts";
import type { RulesOptions } from "./rulesets.ts";

export function registerPrint(program: Command): void {
  const command = program.command("print").description("The rule set as iptables-save prints it.");
  addRules(command)
    .addHelpText("after", "\nExample:\n  verdictree print rules.txt > rules.v4")
    .action(async (rules: string | undefined, options: RulesOptions) => {
      refuseSharedInput(rulePaths(rules, options));
      process.stdout.write(printRuleset(await loadRuleset(rules, options)));
    });
}
