// The tree for many packets at once gives the first clause that holds, whatever the boxes: as a scan over them does.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ProgramBuilder, WHOLE } from "../src/compile/program.ts";
import type { Box, Program } from "../src/compile/program.ts";
import { Batch } from "../src/engine/batch.ts";
import { ACTION_DECIDE, FIELD_COUNT, FIELD_DST, FIELD_MARK, FIELD_PROTO, FIELD_SRC, NONE } from "../src/layout.ts";
import { Draw } from "./support/draw.ts";

const PACKETS = 400;
/** Fields of 32 bits; the others have 16. */
const WIDE = new Set([FIELD_SRC, FIELD_DST, FIELD_MARK]);

interface Shape {
  readonly clauses: number;
  readonly boxesEach: number;
  /** Fields that boxes ask. */
  readonly fields: readonly number[];
  /** Of all boxes, those that ask a field at all. */
  readonly asked: number;
  /** Whether the last clause holds for every packet. */
  readonly closed: boolean;
}

const FIVE = [0, 1, 2, 3, 4];
const SHAPES: readonly Shape[] = [
  { clauses: 0, boxesEach: 1, fields: FIVE, asked: 0.5, closed: false },
  { clauses: 1, boxesEach: 1, fields: FIVE, asked: 0.5, closed: false },
  { clauses: 3, boxesEach: 1, fields: FIVE, asked: 0.3, closed: true },
  { clauses: 40, boxesEach: 3, fields: FIVE, asked: 0.6, closed: true },
  { clauses: 300, boxesEach: 1, fields: [0, 3, 5, 7], asked: 0.7, closed: false },
  { clauses: 300, boxesEach: 2, fields: [0, 1, 4, 8, 9, 15], asked: 0.6, closed: true },
  { clauses: 300, boxesEach: 1, fields: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], asked: 0.3, closed: true },
  {
    clauses: 200,
    boxesEach: 1,
    fields: Array.from({ length: FIELD_COUNT }, (_, field) => field),
    asked: 0.2,
    closed: false,
  },
  { clauses: 1600, boxesEach: 1, fields: FIVE, asked: 0.8, closed: true },
  { clauses: 2500, boxesEach: 1, fields: FIVE, asked: 0.9, closed: false },
];

for (const [index, shape] of SHAPES.entries()) {
  test(`the tree of ${shape.clauses} clauses in ${shape.boxesEach} boxes each answers as a scan does (${index})`, () => {
    const met = new Set<number>();
    for (let seed = 1; seed <= 8; seed++) {
      const draw = new Draw(seed * 100 + index);
      const program = drawProgram(shape, draw);
      const packets = Array.from({ length: PACKETS }, () => drawPacket(program, draw));
      const batch = new Batch(program);
      batch.load(Uint32Array.from(packets.flat()));
      batch.classify();
      const expected = packets.map((packet) => scan(program, packet));
      assert.deepEqual([...batch.answers()], expected, `seed ${seed}`);
      // records may be changed between two passes
      batch.records().set(packets.toReversed().flat());
      batch.classify();
      assert.deepEqual([...batch.answers()], expected.toReversed(), `seed ${seed}, in reverse order`);
      for (const answer of expected) met.add(answer);
    }
    if (shape.clauses > 30) assert.ok(met.size > 20, `hardly any clause is met: ${met.size}`);
  });
}

function drawProgram(shape: Shape, draw: Draw): Program {
  const builder = new ProgramBuilder();
  for (let clause = 0; clause < shape.clauses; clause++) {
    const boxes = Array.from({ length: shape.boxesEach }, () => drawBox(shape, draw));
    builder.add(boxes, ACTION_DECIDE, { arg: clause });
  }
  if (shape.closed) builder.add([WHOLE], ACTION_DECIDE, { arg: shape.clauses });
  return builder.finish(0);
}

/** Prefixes, single values and ranges, near each other so that they overlap. */
function drawBox({ fields, asked }: Shape, draw: Draw): Box {
  const box = WHOLE.slice();
  for (const field of fields) {
    if (draw.below(1000) >= asked * 1000) continue;
    if (field === FIELD_PROTO) {
      box[2 * field] = box[2 * field + 1] = draw.below(4);
      continue;
    }
    const bits = WIDE.has(field) ? 32 : 16;
    const base = draw.below(4) * 2 ** (bits - 2) + draw.below(64);
    const kind = draw.below(3);
    const span = kind === 0 ? 0 : kind === 1 ? 2 ** draw.below(bits) - 1 : draw.below(100000);
    const lo = kind === 1 ? base - (base % (span + 1)) : base;
    box[2 * field] = lo;
    box[2 * field + 1] = Math.min(2 ** bits - 1, lo + span);
  }
  return box;
}

/** At the edges of a box, or beside them. */
function drawPacket(program: Program, draw: Draw): number[] {
  const words = 1 + 2 * FIELD_COUNT;
  const at = program.boxCount === 0 ? -1 : draw.below(program.boxCount) * words;
  return Array.from({ length: FIELD_COUNT }, (_, field) => {
    if (at < 0) return draw.below(1000);
    const lo = program.boxes[at + 1 + 2 * field]!;
    const hi = program.boxes[at + 2 + 2 * field]!;
    const places = [lo, hi, lo + Math.floor((hi - lo) / 2), lo - 1, hi + 1];
    const value = places[draw.below(20) === 0 ? 3 + draw.below(2) : draw.below(3)]! >>> 0;
    return field === FIELD_PROTO ? value & 255 : WIDE.has(field) ? value : value & 0xffff;
  });
}

function scan({ boxes, boxCount }: Program, packet: readonly number[]): number {
  const words = 1 + 2 * FIELD_COUNT;
  for (let at = 0; at < boxCount * words; at += words) {
    const holds = packet.every((value, field) => {
      return boxes[at + 1 + 2 * field]! <= value && value <= boxes[at + 2 + 2 * field]!;
    });
    if (holds) return boxes[at]!;
  }
  return NONE;
}
