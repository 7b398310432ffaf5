// Numbers of IP protocols and flags of TCP.

export const ICMP: u32 = 1;
export const TCP: u32 = 6;
export const UDP: u32 = 17;
export const DCCP: u32 = 33;
export const GRE: u32 = 47;
export const ESP: u32 = 50;
export const AH: u32 = 51;
export const ICMPV6: u32 = 58;
export const SCTP: u32 = 132;
export const UDPLITE: u32 = 136;

export const FIN: u32 = 1;
export const SYN: u32 = 2;
export const RST: u32 = 4;
export const PSH: u32 = 8;
export const ACK: u32 = 16;
