/**
 * The 8 scales and 8 minima of six bits each that Q4_K and Q5_K pack into 12 bytes, for groups of 32
 * values: those of groups 0 to 3 are the low six bits of bytes 0 to 3 (scales) and 4 to 7 (minima);
 * of group g from 4 to 7 the low four bits are the nibbles of byte g + 4 (scale low, minimum high),
 * and the high two are the high two bits of byte g - 4 (scale) and g (minimum).
 */
export function scaleAndMinimum(
  bytes: Uint8Array,
  at: number,
  group: number,
): { scale: number; minimum: number } {
  if (group < 4) return { scale: bytes[at + group] & 63, minimum: bytes[at + group + 4] & 63 };
  const low = bytes[at + group + 4];
  return {
    scale: (low & 15) | ((bytes[at + group - 4] >> 6) << 4),
    minimum: (low >> 4) | ((bytes[at + group] >> 6) << 4),
  };
}
