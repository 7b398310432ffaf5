// What is wrong with a host file, said so that the reader finds it: file, line, key, and what is allowed.

/** Thrown for a host we cannot model exactly. `message` is complete. */
export class HostError extends Error {
  override readonly name = "HostError";
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** Where in the JSON: `routes[0].via`; empty for the whole. */
  readonly key: string;

  constructor(reason: string, file: string, line: number, column: number, key: string) {
    super(`${file}:${line}:${column}: ${key === "" ? "" : `${key}: `}${reason}`);
    this.file = file;
    this.line = line;
    this.key = key;
  }
}
