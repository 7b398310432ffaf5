// Program -> bytes, in the layout of layout.ts.

import {
  ACTION_ENDS,
  CLAUSE_ACTION,
  CLAUSE_ARG,
  CLAUSE_ARG2,
  CLAUSE_BYTES,
  CLAUSE_COUNTS,
  CLAUSE_FIELD,
  CLAUSE_FLAGS,
  CLAUSE_RULE,
  CLAUSE_TEST_COUNT,
  CLAUSE_TESTS,
  FIELD_COUNT,
  FIELD_DST,
  FIELD_SRC,
  LAYOUT_VERSION,
  PROGRAM_BOX_COUNT,
  PROGRAM_BOXES,
  PROGRAM_BYTES,
  PROGRAM_CLAUSE_COUNT,
  PROGRAM_CLAUSES,
  PROGRAM_CUT_MASK,
  PROGRAM_DATA,
  PROGRAM_DATA_BYTES,
  PROGRAM_FIELD_MASK,
  PROGRAM_FIRST_MATCH,
  PROGRAM_FLAGS,
  PROGRAM_MAGIC,
  PROGRAM_VERSION,
  SET_INDEXED,
  TEST_A,
  TEST_B,
  TEST_BPF,
  TEST_BYTES,
  TEST_C,
  TEST_CHUNKS,
  TEST_CLUSTER,
  TEST_CONNBYTES,
  TEST_CONNECTION,
  TEST_CONNLIMIT,
  TEST_DCCP_OPTION,
  TEST_DCCP_TYPES,
  TEST_FIELD,
  TEST_HASHLIMIT,
  TEST_INTACT,
  TEST_IPSET,
  TEST_MAC,
  TEST_MSS,
  TEST_OWNER,
  TEST_QUOTA,
  TEST_RECENT,
  TEST_SOCKET,
  TEST_SPI,
  TEST_STRING,
  TEST_TCP_OPTION,
  TEST_RPFILTER,
  TEST_TIME,
  TEST_U32,
  U32_AND,
  U32_AT,
  U32_LEFT,
  U32_RIGHT,
  TEST_KIND,
  TEST_LIMIT,
  TEST_MASKED,
  TEST_NEGATED,
  TEST_NFT_LIMIT,
  TEST_NTH,
  TEST_RANDOM,
  TEST_SET,
} from "../layout.ts";
import type { U32Test } from "../rules/ruleset.ts";
import { MAX_U32 } from "./intervals.ts";
import type { Intervals } from "./intervals.ts";
import { BOX_WORDS } from "./program.ts";
import type { Program, Test } from "./program.ts";

/** Bytes of a line of the cache, at which clauses begin. */
const LINE = 64;

/** The program alone; those that it CALLs are encoded one by one. */
export function encode(program: Program): Uint8Array {
  const fields = fieldsAsked(program);
  const data = new Data();
  const dataOf = program.clauses.map((clause) => ({
    tests: data.tests(clause.tests),
    record: clause.record === null ? 0 : data.all(clause.record),
  }));
  const stride = 1 + 2 * fields.length;
  const boxesOffset = PROGRAM_BYTES;
  const clausesOffset = Math.ceil((boxesOffset + program.boxCount * stride * 4) / LINE) * LINE;
  const dataOffset = clausesOffset + program.clauses.length * CLAUSE_BYTES;
  const bytes = new Uint8Array(dataOffset + data.byteLength);
  const view = new DataView(bytes.buffer);
  const put = (at: number, value: number): void => {
    view.setUint32(at, value, true);
  };

  put(0, PROGRAM_MAGIC);
  put(PROGRAM_VERSION, LAYOUT_VERSION);
  const fieldMask = fields.reduce((mask, field) => mask | (1 << field), 0);
  put(PROGRAM_FIELD_MASK, fieldMask);
  put(PROGRAM_CUT_MASK, fieldMask & ~program.volatileFields);
  put(PROGRAM_BOX_COUNT, program.boxCount);
  put(PROGRAM_CLAUSE_COUNT, program.clauses.length);
  put(PROGRAM_DATA_BYTES, data.byteLength);
  put(PROGRAM_BOXES, boxesOffset);
  put(PROGRAM_CLAUSES, clausesOffset);
  put(PROGRAM_DATA, dataOffset);
  put(PROGRAM_FLAGS, isFirstMatch(program) ? PROGRAM_FIRST_MATCH : 0);

  const words = new Uint32Array(bytes.buffer, boxesOffset, program.boxCount * stride);
  let at = 0;
  for (let box = 0; box < program.boxCount; box++) {
    const from = box * BOX_WORDS;
    words[at++] = program.boxes[from]!;
    for (const field of fields) {
      words[at++] = program.boxes[from + 1 + 2 * field]!;
      words[at++] = program.boxes[from + 2 + 2 * field]!;
    }
  }

  program.clauses.forEach((clause, index) => {
    const from = clausesOffset + index * CLAUSE_BYTES;
    put(from + CLAUSE_ACTION, clause.action);
    put(from + CLAUSE_RULE, clause.rule);
    put(from + CLAUSE_ARG, clause.record === null ? clause.arg : dataOf[index]!.record);
    put(from + CLAUSE_ARG2, clause.arg2);
    put(from + CLAUSE_TESTS, dataOf[index]!.tests);
    put(from + CLAUSE_TEST_COUNT, clause.tests.length);
    put(from + CLAUSE_FLAGS, clause.counts ? CLAUSE_COUNTS : 0);
    put(from + CLAUSE_FIELD, clause.field);
  });
  bytes.set(data.bytes(), dataOffset);
  return bytes;
}

/** Every clause ends the look-up and has no tests: the first box that holds is the answer. */
export function isFirstMatch(program: Program): boolean {
  return program.clauses.every((clause) => clause.action >= ACTION_ENDS && clause.tests.length === 0);
}

/** Fields that some box of the program restricts. */
function fieldsAsked(program: Program): readonly number[] {
  let mask = 0;
  for (let box = 0; box < program.boxCount; box++) {
    const from = box * BOX_WORDS + 1;
    for (let field = 0; field < FIELD_COUNT; field++) {
      if (program.boxes[from + 2 * field] !== 0 || program.boxes[from + 2 * field + 1] !== MAX_U32) mask |= 1 << field;
    }
  }
  return Array.from({ length: FIELD_COUNT }, (_, field) => field).filter((field) => (mask >>> field) & 1);
}

/** Addresses alone use their upper 16 bits; a smaller set is searched as quickly without. */
const LEAST_INDEXED = 64;

function isIndexed({ field, set }: Extract<Test, { kind: typeof TEST_SET }>): boolean {
  return (field === FIELD_SRC || field === FIELD_DST) && set.length / 2 >= LEAST_INDEXED;
}

/** For each value of the upper 16 bits how many intervals begin below it; then all. */
function indexOf(set: Intervals): Uint32Array {
  const index = new Uint32Array(0x10001);
  for (let i = 0; i < set.length; i += 2) index[(set[i]! >>> 16) + 1]!++;
  for (let high = 1; high < index.length; high++) index[high]! += index[high - 1]!;
  return index;
}

const U32_OPS = { "&": U32_AND, "<<": U32_LEFT, ">>": U32_RIGHT, "@": U32_AT } as const;

/** Tests, intervals and records of clauses; equal lists of tests are written once. */
class Data {
  readonly #words: number[] = [];
  readonly #testsAt = new Map<readonly Test[], number>();

  get byteLength(): number {
    return this.#words.length * 4;
  }

  bytes(): Uint8Array {
    return new Uint8Array(Uint32Array.from(this.#words).buffer);
  }

  tests(tests: readonly Test[]): number {
    if (tests.length === 0) return 0;
    const known = this.#testsAt.get(tests);
    if (known !== undefined) return known;
    const sets = tests.map((test) => this.#listOf(test));
    const at = this.byteLength;
    tests.forEach((test, i) => {
      this.#test(test, sets[i]!);
    });
    this.#testsAt.set(tests, at);
    return at;
  }

  /** Numbers of 64 bits. */
  #wide(numbers: readonly bigint[]): number {
    const at = this.byteLength;
    for (const number of numbers) this.#words.push(Number(number & 0xffff_ffffn), Number(number >> 32n));
    return at;
  }

  all(words: ArrayLike<number>): number {
    const at = this.byteLength;
    for (let i = 0; i < words.length; i++) this.#words.push(words[i]!);
    return at;
  }

  /** Four bytes to a word, the first one lowest. */
  #packed(bytes: readonly number[]): number {
    const words = new Array<number>(Math.ceil(bytes.length / 4)).fill(0);
    bytes.forEach((byte, index) => {
      words[index >> 2] = (words[index >> 2]! | (byte << ((index & 3) * 8))) >>> 0;
    });
    return this.all(words);
  }

  #u32Tests(tests: readonly U32Test[]): number {
    return this.all(
      tests.flatMap(({ start, steps, ranges }) => [
        ...[start, steps.length, ...steps.flatMap(({ op, number }) => [U32_OPS[op], number])],
        ...[ranges.length, ...ranges.flatMap(({ lo, hi }) => [lo, hi])],
      ]),
    );
  }

  /** Where the list stands that the test refers to; 0: it has none. */
  #listOf(test: Test): number {
    switch (test.kind) {
      case TEST_SET:
        if (isIndexed(test)) this.all(indexOf(test.set));
        return this.all(test.set);
      case TEST_CHUNKS:
        return this.all(test.chunks.map(({ type, mask, flags }) => type | (mask << 8) | (flags << 16)));
      case TEST_CONNBYTES:
        return this.#wide([test.lo, test.hi]);
      case TEST_STRING:
        return this.#packed(test.pattern);
      case TEST_U32:
        return this.#u32Tests(test.tests);
      case TEST_TIME: {
        const { dateStart, dateStop, dayStart, dayStop, monthdays, weekdays } = test.time;
        return this.all([dateStart, dateStop, dayStart, dayStop, monthdays, weekdays]);
      }
      case TEST_BPF:
        return this.all(test.program.flatMap(({ code, jt, jf, k }) => [(code | (jt << 16) | (jf << 24)) >>> 0, k]));
      default:
        return 0;
    }
  }

  #test(test: Test, list: number): void {
    const { field = 0, a = 0, b = 0, c = 0 } = wordsOf(test, list);
    const words = new Array<number>(TEST_BYTES / 4).fill(0);
    words[TEST_KIND / 4] = test.kind;
    words[TEST_FIELD / 4] = field;
    words[TEST_A / 4] = a;
    words[TEST_B / 4] = b;
    words[TEST_C / 4] = c;
    words[TEST_NEGATED / 4] = Number("negated" in test && test.negated);
    this.#words.push(...words);
  }
}

interface TestWords {
  readonly field?: number;
  readonly a?: number;
  readonly b?: number;
  readonly c?: number;
}

/** What a test's words mean stands in guard.ts of assembly/. `list`: where its list stands. */
function wordsOf(test: Test, list: number): TestWords {
  switch (test.kind) {
    case TEST_MASKED:
      return { field: test.field, a: test.mask, b: test.value };
    case TEST_SET:
      return {
        field: test.field,
        a: list,
        b: test.set.length / 2 + (isIndexed(test) ? SET_INDEXED : 0),
        c: test.orField,
      };
    case TEST_IPSET:
      return { field: test.show, a: test.set };
    case TEST_LIMIT:
      return { a: test.state, b: test.cost, c: test.cap };
    case TEST_NFT_LIMIT:
      return { field: test.burst, a: test.state, b: test.cost % 2 ** 32, c: Math.floor(test.cost / 2 ** 32) };
    case TEST_NTH:
      return { a: test.state, b: test.every, c: test.packet };
    case TEST_RANDOM:
      return { a: test.probability, b: test.state, c: test.rule };
    case TEST_INTACT:
      return { a: test.bytes };
    case TEST_MAC:
      return { a: Math.floor(test.mac / 2 ** 32), b: test.mac % 2 ** 32, c: test.loIface };
    case TEST_OWNER:
      return { a: test.lo, b: test.hi, c: test.which };
    case TEST_RECENT:
      return { field: test.flags, a: test.list, b: test.seconds, c: test.hits };
    case TEST_CONNECTION:
      return { field: test.what, a: test.a, b: test.b, c: Number(test.without) };
    case TEST_CLUSTER:
      return { a: test.seed, b: test.mask, c: test.nodes };
    case TEST_CONNBYTES:
      return { field: test.what, a: list };
    case TEST_CONNLIMIT:
      return { field: test.field, a: test.state, b: test.mask, c: test.most };
    case TEST_QUOTA:
      return { a: test.state, b: Number(test.quota & 0xffff_ffffn), c: Number(test.quota >> 32n) };
    case TEST_STRING:
      return { field: test.flags, a: list, b: test.pattern.length, c: (test.from | (test.to << 16)) >>> 0 };
    case TEST_U32:
      return { a: list, b: test.tests.length };
    case TEST_TIME:
      return { a: list, c: Number(test.time.contiguous) };
    case TEST_RPFILTER:
      return { a: test.flags };
    case TEST_BPF:
      return { a: list, b: test.program.length };
    case TEST_HASHLIMIT:
      return { a: test.table };
    case TEST_SOCKET:
      return {};
    case TEST_SPI:
      return { field: test.offset, a: test.lo, b: test.hi, c: test.bits };
    case TEST_CHUNKS:
      return { a: list, b: test.chunks.length, c: test.which };
    case TEST_DCCP_TYPES:
      return { a: test.mask };
    case TEST_DCCP_OPTION:
    case TEST_TCP_OPTION:
      return { a: test.option };
    case TEST_MSS:
      return { a: test.lo, b: test.hi };
  }
}
