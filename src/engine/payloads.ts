// Bytes behind IP headers, for which rules ask, in the engine's memory.

import type { Instance } from "./instance.ts";

/** More than the longest. */
const CHUNK_BYTES = 1 << 20;

/** Written one behind the other; they stay until the next batch begins. */
export class Payloads {
  readonly #instance: Instance;
  readonly #chunks: number[] = [];
  #chunk = 0;
  #used = 0;

  constructor(instance: Instance) {
    this.#instance = instance;
  }

  begin(): void {
    this.#chunk = 0;
    this.#used = 0;
  }

  /** The address of a copy. The memory may grow: views that were made before are void. */
  put(payload: Uint8Array): number {
    if (this.#used + payload.length > CHUNK_BYTES) {
      this.#chunk++;
      this.#used = 0;
    }
    this.#chunks[this.#chunk] ??= this.#instance.allocate(CHUNK_BYTES);
    const at = this.#chunks[this.#chunk]! + this.#used;
    this.#instance.bytes(at, payload.length).set(payload);
    this.#used += payload.length;
    return at;
  }
}
