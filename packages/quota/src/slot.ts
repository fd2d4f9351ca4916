/** The table of CRC-16/XMODEM: polynomial x^16 + x^12 + x^5 + 1, most significant bit first. */
const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc;
});
const SLOTS = 16_384;

/**
 * The slot of a key on Redis Cluster: CRC-16 of its hash tag, or of all of it when it has none, modulo 16,384 (Redis
 * Cluster specification, "Key distribution model" and "Hash tags").
 */
export function slotOf(key: string): number {
  const open = key.indexOf('{');
  const close = key.indexOf('}', open + 1);
  const hashed = open >= 0 && close > open + 1 ? key.slice(open + 1, close) : key;
  let crc = 0;
  for (const byte of Buffer.from(hashed)) crc = ((crc << 8) ^ (TABLE[(crc >> 8) ^ byte] ?? 0)) & 0xffff;
  return crc % SLOTS;
}
