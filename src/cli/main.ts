#!/usr/bin/env node
// argv -> a command and its exit code: 0 done, 1 something was found, 2 bad input, 3 undecided, 130 interrupted.

import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { registerBench } from "./bench.ts";
import { registerDiff } from "./diff.ts";
import { explain } from "./errors.ts";
import { registerExplain } from "./explain.ts";
import { registerFuzz } from "./fuzz.ts";
import { registerLint } from "./lint.ts";
import { registerPrint } from "./print.ts";
import { registerReach } from "./reach.ts";
import { registerRun } from "./run.ts";
import { registerTree } from "./tree.ts";

for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    // who reads us has had enough, as `head` has: that is no error
    if (error.code === "EPIPE") process.exit();
    // thrown from here it would end with 1, which means that something was found
    if (stream === process.stdout) {
      process.stderr.write(`verdictree: the output cannot be written (${error.code ?? error.message})\n`);
    }
    process.exit(2);
  });
}

process.exitCode = await main();

async function main(): Promise<number> {
  const program = programOf();
  try {
    await program.parseAsync();
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const said = explain(error);
    if (said !== "") process.stderr.write(`${said}\n`);
    return 2;
  }
}

function programOf(): Command {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  const program = new Command("verdictree")
    .description("What an iptables rule set does to packets.")
    .version(version)
    .exitOverride()
    .configureHelp({ sortSubcommands: false })
    .addHelpText(
      "after",
      "\nExit codes: 0 done, 1 found something, 2 bad input or usage, 3 undecided, 130 interrupted.",
    );
  registerRun(program);
  registerBench(program);
  registerTree(program);
  registerFuzz(program);
  registerPrint(program);
  registerDiff(program);
  registerExplain(program);
  registerLint(program);
  registerReach(program);
  return program;
}
