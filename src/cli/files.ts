// Files and standard input -> text: `-` is standard input, `.gz` is unpacked, what cannot be read or written is a sentence.

import { isUtf8 } from "node:buffer";
import { createReadStream, writeFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { addAbortSignal } from "node:stream";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { UsageError } from "./errors.ts";

/** Longer texts do not fit into one string of V8 (2^29 - 24 characters). */
const MAX_TEXT_BYTES = 500_000_000;
/** Several times the longest line that a packet may have: 65,535 bytes in hexadecimal digits, and keys. */
const MOST_LINE_LENGTH = 1_000_000;

/** A line of a text file; `number` counts from 1. */
export interface Line {
  readonly text: string;
  readonly number: number;
}

/** What error messages call the file. */
export function nameOf(path: string): string {
  return path === "-" ? "(standard input)" : path;
}

/** Throws UsageError if more than one of the paths is standard input. */
export function refuseSharedInput(paths: readonly (string | undefined)[]): void {
  if (paths.filter((path) => path === "-").length > 1) throw new UsageError("standard input can be read only once");
}

/** The whole text, without a byte order mark. Throws UsageError if it cannot be read, is not UTF-8, or holds nothing. */
export async function readText(path: string): Promise<string> {
  const pieces: string[] = [];
  let length = 0;
  for await (const piece of decoded(path)) {
    length += piece.length;
    if (length > MAX_TEXT_BYTES) throw new UsageError(`${nameOf(path)}: more than ${MAX_TEXT_BYTES} bytes`);
    pieces.push(piece);
  }
  const text = pieces.join("");
  if (text.trim() === "") throw new UsageError(`${nameOf(path)}:1: the file is empty`);
  return text;
}

/**
 * The lines, in portions as they arrive, so that answers need not wait for the end of the input. `stop` ends it early.
 * Throws UsageError as `readText` does, and for a line of more than a million characters.
 */
export async function* readLines(path: string, stop: AbortSignal): AsyncGenerator<readonly Line[]> {
  let rest = "";
  let number = 0;
  const toLine = (text: string): Line => ({ text: text.endsWith("\r") ? text.slice(0, -1) : text, number: ++number });
  for await (const piece of decoded(path, stop)) {
    const texts = (rest + piece).split("\n");
    rest = texts.pop()!;
    if (texts.length > 0) yield texts.map(toLine);
    if (rest.length > MOST_LINE_LENGTH)
      throw new UsageError(`${nameOf(path)}:${number + 1}: the line is longer than ${MOST_LINE_LENGTH} characters`);
  }
  if (rest !== "") yield [toLine(rest)];
}

/** Writes a text file. Throws UsageError if that cannot be done. */
export function writeText(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new UsageError(`${path}: it cannot be written (${(error as NodeJS.ErrnoException).code ?? "unknown"})`);
  }
}

async function* decoded(path: string, stop?: AbortSignal): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let linesBefore = 0;
  // of a character that lies across the ends of pieces
  let begun: Uint8Array = new Uint8Array(0);
  const decode = (bytes?: Buffer): string => {
    try {
      return decoder.decode(bytes, { stream: bytes !== undefined });
    } catch {
      const good = bytes === undefined ? 0 : goodLinesIn(Buffer.concat([begun, bytes]));
      throw new UsageError(`${nameOf(path)}:${linesBefore + good + 1}: not UTF-8 text`);
    }
  };
  for await (const bytes of await opened(path, stop)) {
    const text = decode(bytes);
    linesBefore += linesIn(text);
    begun = begunCharacter(Buffer.concat([begun, bytes.subarray(-4)]));
    yield text;
  }
  yield decode();
}

/** Lines of the text before the first that is not UTF-8. */
function goodLinesIn(bytes: Buffer): number {
  let count = 0;
  let at = 0;
  for (let end = bytes.indexOf("\n"); end >= 0 && isUtf8(bytes.subarray(at, end)); end = bytes.indexOf("\n", at)) {
    at = end + 1;
    count++;
  }
  return count;
}

/** The last character of these bytes if there is more of it to come. */
function begunCharacter(bytes: Uint8Array): Uint8Array {
  for (let count = 1; count <= 3; count++) {
    const byte = bytes.at(-count) ?? 0;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 0;
    if (length > count) return bytes.slice(-count);
  }
  return bytes.slice(0, 0);
}

function linesIn(text: string): number {
  let count = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) count++;
  return count;
}

async function opened(path: string, stop?: AbortSignal): Promise<AsyncIterable<Buffer>> {
  if (path === "-") return readAll(path, process.stdin, stop);
  try {
    if ((await stat(path)).isDirectory()) throw new UsageError(`${path}: it is a directory`);
  } catch (error) {
    throw readable(path, error);
  }
  return readAll(path, createReadStream(path), stop);
}

async function* readAll(path: string, file: Readable, stop?: AbortSignal): AsyncGenerator<Buffer> {
  let stream = file;
  if (path.endsWith(".gz")) {
    const gunzip = createGunzip();
    file.on("error", (error) => gunzip.destroy(error));
    stream = file.pipe(gunzip);
  }
  if (stop !== undefined) addAbortSignal(stop, stream);
  try {
    for await (const bytes of stream) yield bytes as Buffer;
  } catch (error) {
    if (stop?.aborted !== true) throw readable(path, error);
  } finally {
    file.destroy();
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  ENOTDIR: "there is no such file",
  EISDIR: "it is a directory",
  EACCES: "no permission to read it",
  EPERM: "no permission to read it",
  Z_DATA_ERROR: "it is no valid gzip file",
  Z_BUF_ERROR: "the gzip file ends too early",
};

/** The sentence for an error of the operating system; other errors as they are. */
function readable(path: string, error: unknown): unknown {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (error instanceof UsageError || code === "") return error;
  return new UsageError(`${path}: ${REASONS[code] ?? `it cannot be read (${code})`}`);
}
