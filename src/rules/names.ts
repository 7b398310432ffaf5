// The sentence for a mistake that old rule files make.

export const OLD_NEGATION =
  "the ! stands in front of the option since iptables 1.4.3: `! -s ADDRESS`, not `-s ! ADDRESS`";
