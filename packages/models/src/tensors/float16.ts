const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** The value of the 16 bits of an IEEE 754 half. */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/**
 * The 16 bits of the half nearest to a number; of two that are as near the one whose last bit is 0. Infinite from 65,520 on.
 * n.b. straight from the number: by way of a float it would be rounded twice.
 */
export function toHalf(value: number): number {
  float[0] = value;
  const sign = ((word[0] as number) >>> 16) & 0x8000;
  const size = Math.abs(value);
  if (Number.isNaN(size)) return 0x7e00;
  if (size >= 65_520) return sign | 0x7c00;
  // The distance to the next half is 2^-24 up to 2^-14, and from there on 2^-10 of the power of two below.
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const steps = roundHalfToEven(size / 2 ** (exponent - 10));
  // n.b. 2048 steps carry into the exponent by themselves, and so do 1024 of those below 2^-14.
  return sign | ((exponent + 14) * 1024 + steps);
}

function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
