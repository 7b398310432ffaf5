// The ABI: functions over numbers. Addresses are bytes of the instance's memory; layouts are those of src/layout.ts. The embedder
// provides the five functions that pieces.ts declares, under "pieces".

export { setAnswers } from "./answer";
export { build, leafBoxCount, leafCount, nodeCount, treeBytes } from "./build";
export { setEvents } from "./conntrack";
export { converse, listen } from "./conversation";
export { decide } from "./decide";
export { setMostFew } from "./few";
export { buildFirst, firstBytes } from "./first-build";
export { classify, keyBytes, pack } from "./first-match";
export { rationErrors } from "./peers";
export { flowCount, lookedAt, setFlows } from "./flow";
export { setGuards } from "./guard";
export { insertMember, setIpsets } from "./ipset";
export { beginPacket, run, setLookUp, settleCounters, setTrace, traceCount } from "./look-up";
export { allocate, mark, release, setPageLimit } from "./memory";
export { setOrigins } from "./origin";
export { setLists } from "./recent";
export { setHashTables } from "./hashlimit";
export { tally } from "./tally";
export { generate } from "./traffic";
export { way } from "./way";
