// The library: parse a rule set, compile it for a host, ask it.

export type { ChainDecision, CtState, FinalPacket, Outcome, RuleCounter, RuleRef, Trace } from "./classifier.ts";
export { toAnswer } from "./classifier.ts";
export { diffRulesets } from "./diff/diff.ts";
export type { DiffAnswer, Difference, DiffOptions, Undecided } from "./diff/diff.ts";
export { reach } from "./diff/arrivals.ts";
export type { Reaching, ReachOptions } from "./diff/arrivals.ts";
export { diffWays } from "./diff/way.ts";
export type { WayDifference, WayEnd, WayOptions } from "./diff/way.ts";
export type { Place } from "./diff/toward.ts";
export { sampleChain } from "./diff/sample.ts";
export type { Sampled, SampleOptions } from "./diff/sample.ts";
export { Batch } from "./engine/batch.ts";
export { EngineError } from "./engine/instance.ts";
export { benchChain, benchClassbench, compileFirewall, Firewall } from "./firewall.ts";
export type {
  Answer,
  BenchChain,
  ChainOptions,
  FirewallOptions,
  StreamOptions,
  StreamStep,
  Tally,
} from "./firewall.ts";
export { explainPacket, whyNot } from "./explain/explain.ts";
export type { ChainVisit, Explanation, ExplainOptions, Seen, Step, WhyNot } from "./explain/explain.ts";
export { sureRegion } from "./explain/region.ts";
export type { SureRegion } from "./explain/region.ts";
export { lintRuleset } from "./lint/lint.ts";
export type { Finding, FindingKind, LintOptions, Unproved } from "./lint/lint.ts";
export { HostError } from "./host/error.ts";
export type { Host, Interface, InterfaceAddress, PolicyRule, Route } from "./host/host.ts";
export { parseHost } from "./host/parse.ts";
export { PacketError } from "./packet/error.ts";
export { parseArrival } from "./packet/line.ts";
export type { Arrival, Packet } from "./packet/packet.ts";
export { UnsupportedError } from "./reference/error.ts";
export { Reference } from "./reference/reference.ts";
export { assume, parseAssumption } from "./rules/assume.ts";
export type { Assumed, Assumption } from "./rules/assume.ts";
export { parseClassbench } from "./rules/classbench.ts";
export type { ClassbenchRule } from "./rules/classbench.ts";
export { RuleError } from "./rules/error.ts";
export { parseIpset } from "./rules/ipset.ts";
export { mergeRulesets, parseRuleset } from "./rules/parse.ts";
export { printRule, printRuleset } from "./rules/print.ts";
export type * from "./rules/ruleset.ts";
export { TRAFFIC_KINDS } from "./traffic/traffic.ts";
export type { TrafficKind } from "./traffic/traffic.ts";
