// One WASM instance: one rule set. Typed lines for the exports of assembly/index.ts; memory that grows takes its views
// with it, so views are made when they are needed and kept across no call.

import { GATHER_UNKNOWN } from "../layout.ts";
import type { Pieces } from "./datagrams.ts";
import { WASM_BASE64 } from "./wasm.ts";

interface Exports {
  readonly memory: WebAssembly.Memory;
  allocate(bytes: number): number;
  mark(): number;
  release(to: number): void;
  build(program: number): number;
  buildFirst(program: number): number;
  keyBytes(program: number): number;
  pack(program: number, packets: number, count: number, keys: number): void;
  classify(program: number, keys: number, count: number, answers: number): void;
  decide(program: number, packets: number, count: number, answers: number): void;
  run(program: number, packet: number): number;
  way(
    firewall: number,
    packets: number,
    details: number,
    count: number,
    decisions: number,
    firstIndex: number,
    times: number,
    forgets: number,
  ): void;
  setAnswers(at: number, bytes: number): void;
  setEvents(at: number, bytes: number): void;
  rationErrors(): void;
  setFlows(flows: number, counting: number): number;
  generate(traffic: number, packets: number, count: number, first: number): void;
  converse(traffic: number, packets: number, details: number, times: number, count: number, first: number): void;
  listen(decisions: number, count: number): void;
  tally(tally: number, decisions: number, count: number): void;
  setGuards(states: number, seed: number): void;
  setMostFew(boxes: number): void;
  setLists(at: number): void;
  setHashTables(at: number): void;
  setIpsets(at: number): void;
  insertMember(
    set: number,
    ip: number,
    port: number,
    second: number,
    lengths: number,
    iface: number,
    seconds: number,
    nomatch: number,
  ): number;
  setOrigins(at: number, firstIndex: number): void;
  setLookUp(counters: number, stack: number): void;
  settleCounters(): void;
  setTrace(at: number, bytes: number): void;
  traceCount(): number;
  readonly flowCount: WebAssembly.Global;
  readonly lookedAt: WebAssembly.Global;
  readonly treeBytes: WebAssembly.Global;
  readonly firstBytes: WebAssembly.Global;
  readonly nodeCount: WebAssembly.Global;
  readonly leafCount: WebAssembly.Global;
  readonly leafBoxCount: WebAssembly.Global;
}

let compiled: WebAssembly.Module | undefined;

function moduleOf(): WebAssembly.Module {
  if (compiled === undefined) {
    const text = atob(WASM_BASE64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    compiled = new WebAssembly.Module(bytes);
  }
  return compiled;
}

/** Thrown where a rule set needs more memory than the engine may have. */
export class EngineError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "EngineError";
  }
}

export class Instance {
  readonly exports: Exports;
  /** Who knows the bytes of packets on their way. */
  pieces: Pieces | null = null;

  constructor() {
    // addresses come as signed numbers
    const pieces: Pieces = {
      gather: (gatherer, at, details, origin, bearer, ...others) =>
        this.pieces?.gather(gatherer, at >>> 0, details >>> 0, origin >>> 0, bearer >>> 0, ...others) ?? GATHER_UNKNOWN,
      cut: (at, details, origin, most, asItCame, result) => {
        this.pieces?.cut(at >>> 0, details >>> 0, origin >>> 0, most, asItCame, result >>> 0);
      },
      show: (body, at, details, origin) => {
        this.pieces?.show(body, at >>> 0, details >>> 0, origin >>> 0);
      },
      leaveInPieces: (decision, at, details, origin, most, asItCame) => {
        this.pieces?.leaveInPieces(decision >>> 0, at >>> 0, details >>> 0, origin >>> 0, most, asItCame);
      },
      strip: (at, details, origin, kinds) =>
        this.pieces?.strip(at >>> 0, details >>> 0, origin >>> 0, kinds >>> 0) ?? 0,
      lay: (at, details, origin, result) => {
        this.pieces?.lay(at >>> 0, details >>> 0, origin >>> 0, result >>> 0);
      },
      spillPath: (decision, loops, path) => {
        this.pieces?.spillPath(decision >>> 0, loops, path >>> 0);
      },
    };
    this.exports = new WebAssembly.Instance(moduleOf(), { pieces: { ...pieces } }).exports as unknown as Exports;
  }

  /** Address of fresh bytes, aligned to 64, not zeroed. Throws an EngineError where there is no more memory. */
  allocate(bytes: number): number {
    const at = this.exports.allocate(bytes) >>> 0;
    if (at === 0) throw new EngineError(`the engine's memory (4 GiB) does not hold ${bytes} bytes more`);
    return at;
  }

  /** As `allocate`, zeroed. */
  allocateZeroed(bytes: number): number {
    const at = this.allocate(bytes);
    this.bytes(at, bytes).fill(0);
    return at;
  }

  /** Copies bytes into fresh memory. */
  put(bytes: Uint8Array): number {
    const at = this.allocate(bytes.length);
    this.bytes(at, bytes.length).set(bytes);
    return at;
  }

  /** Gives a fresh instance the memory of another, up to its mark. */
  fill(memory: Uint8Array): void {
    this.allocate(memory.length - (this.exports.mark() >>> 0));
    this.bytes(0, memory.length).set(memory);
  }

  bytes(at: number, length: number): Uint8Array {
    return new Uint8Array(this.exports.memory.buffer, at, length);
  }

  words(at: number, count: number): Uint32Array {
    return new Uint32Array(this.exports.memory.buffer, at, count);
  }

  view(): DataView {
    return new DataView(this.exports.memory.buffer);
  }

  get memoryBytes(): number {
    return this.exports.memory.buffer.byteLength;
  }
}
