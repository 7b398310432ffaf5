// HOST.json on the command line -> Host.

import type { Host } from "../host/host.ts";
import { parseHost } from "../host/parse.ts";
import { UsageError } from "./errors.ts";
import { nameOf, readText } from "./files.ts";

export async function loadHost(path: string): Promise<Host> {
  const host = parseHost(await readText(path), nameOf(path));
  if (host.hostStack)
    throw new UsageError(`${nameOf(path)}: host_stack: answers of the host's own stack are not modelled`);
  return host;
}
