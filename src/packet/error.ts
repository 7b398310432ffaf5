// What is wrong with a packet line, said so that the reader finds it: file, line, key, and what is allowed.

/** Thrown for a packet we cannot build exactly. `message` is complete. */
export class PacketError extends Error {
  override readonly name = "PacketError";
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** Where in the line: `frag.offset`; empty for the whole. */
  readonly key: string;

  constructor(reason: string, file: string, line: number, column: number, key: string) {
    super(`${file}:${line}:${column}: ${key === "" ? "" : `${key}: `}${reason}`);
    this.file = file;
    this.line = line;
    this.key = key;
  }
}
