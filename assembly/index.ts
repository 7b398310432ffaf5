// The ABI: functions over numbers. Addresses are bytes of the instance's memory; layouts are those of src/layout.ts.

export { build, nodeCount, leafCount, leafBoxCount } from "./build";
export { classify, classifyPlain } from "./classify";
export { setGuards } from "./guard";
export { beginPacket, run, setLookUp, setTrace, traceCount } from "./look-up";
export { allocate, mark, release, setPageLimit } from "./memory";
export { way } from "./way";
