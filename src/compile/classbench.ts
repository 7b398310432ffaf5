// A ClassBench filter set -> Program: each rule is one box, and the first that holds is the answer.

import { ACTION_DECIDE, FIELD_DPORT, FIELD_DST, FIELD_PROTO, FIELD_SPORT, FIELD_SRC } from "../layout.ts";
import type { ClassbenchRule } from "../rules/classbench.ts";
import { MAX_U32 } from "./intervals.ts";
import { ProgramBuilder, WHOLE } from "./program.ts";
import type { Program } from "./program.ts";

/** Clause i is rule i; a packet that meets none has no clause. */
export function lowerClassbench(rules: readonly ClassbenchRule[]): Program {
  const builder = new ProgramBuilder();
  rules.forEach((rule, index) => {
    const box = WHOLE.slice();
    const put = (field: number, lo: number, hi: number, max: number): void => {
      box[2 * field] = lo;
      // what holds for every value is not asked
      box[2 * field + 1] = lo === 0 && hi === max ? MAX_U32 : hi;
    };
    put(FIELD_SRC, rule.srcLo, rule.srcHi, MAX_U32);
    put(FIELD_DST, rule.dstLo, rule.dstHi, MAX_U32);
    put(FIELD_SPORT, rule.sportLo, rule.sportHi, 0xffff);
    put(FIELD_DPORT, rule.dportLo, rule.dportHi, 0xffff);
    put(FIELD_PROTO, rule.protoLo, rule.protoHi, 0xff);
    builder.add([box], ACTION_DECIDE, { arg: index });
  });
  return builder.finish(0);
}
