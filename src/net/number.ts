// Whole numbers as the iptables programs read them: strtoul(3) with base 0.

const NUMBER = /^(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/;

/** `0x10`, `020` (octal!) and `16` are 16; null for anything else and for what lies outside 0..max. */
export function parseNumber(text: string, max: number): number | null {
  if (!NUMBER.test(text)) return null;
  const octal = text.length > 1 && text.startsWith("0") && !/^0[xX]/.test(text);
  const value = octal ? parseInt(text, 8) : Number(text);
  return value <= max ? value : null;
}

/** Decimal digits alone; null for anything else and for what lies outside 0..max. */
export function parseDecimal(text: string, max: number): number | null {
  if (!/^[0-9]+$/.test(text)) return null;
  const value = Number(text);
  return value <= max ? value : null;
}

const MAX_64 = (1n << 64n) - 1n;

/** Decimal digits alone, up to 64 bits; null for anything else. */
export function parseDecimal64(text: string): bigint | null {
  if (!/^[0-9]+$/.test(text)) return null;
  const value = BigInt(text);
  return value <= MAX_64 ? value : null;
}

/** As parseNumber, up to 64 bits. */
export function parseNumber64(text: string): bigint | null {
  if (!NUMBER.test(text)) return null;
  const octal = text.length > 1 && text.startsWith("0") && !/^0[xX]/.test(text);
  const value = BigInt(octal ? `0o${text.slice(1)}` : text);
  return value <= MAX_64 ? value : null;
}
