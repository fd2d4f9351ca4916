/** FarmHash Fingerprint64 for keys of 1 to 7 bytes. Source: google/farmhash, namespace farmhashna, HashLen0to16. */

const K0 = 0xc3a5c85c97cb3127n;
const K2 = 0x9ae16a3b2f90404fn;

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
const mix = (value: bigint): bigint => value ^ (value >> 47n);

/** An unsigned 64-bit hash. Throws a RangeError for other lengths, which take other paths of the algorithm. */
export function fingerprint64(key: Uint8Array): bigint {
  const bytes = Buffer.from(key);
  const length = BigInt(bytes.length);
  if (bytes.length < 1 || bytes.length > 7) throw new RangeError(`the key has ${bytes.length} bytes, not 1 to 7`);
  if (bytes.length < 4) {
    const first = BigInt(bytes.readUInt8(0));
    const middle = BigInt(bytes.readUInt8(bytes.length >> 1));
    const last = BigInt(bytes.readUInt8(bytes.length - 1));
    const y = first + (middle << 8n);
    const z = length + (last << 2n);
    return wrap(mix(wrap(y * K2) ^ wrap(z * K0)) * K2);
  }
  const multiplier = K2 + length * 2n;
  const u = length + (BigInt(bytes.readUInt32LE(0)) << 3n);
  const v = BigInt(bytes.readUInt32LE(bytes.length - 4));
  const a = mix(wrap((u ^ v) * multiplier));
  const b = mix(wrap((v ^ a) * multiplier));
  return wrap(b * multiplier);
}
