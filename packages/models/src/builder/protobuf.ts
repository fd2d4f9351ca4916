/**
 * Writers for the protobuf wire format, as much of it as ONNX needs. Each returns one encoded field, tag included, in
 * pieces: a model is tens of megabytes, and nested messages would copy it at every level.
 * Source: protobuf.dev, "Encoding".
 */

const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED_32 = 5;

/** One encoded field; its bytes are those of the pieces, one behind the other. */
export type Field = readonly Uint8Array[];

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value); // a negative int64 takes ten bytes
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    bytes.push(rest > 0n ? low | 0x80 : low);
  } while (rest > 0n);
  return Buffer.from(bytes);
}

function tag(field: number, wireType: number): Buffer {
  return varint(BigInt((field << 3) | wireType));
}

/** An int32, int64 or enum field. */
export function intField(field: number, value: number): Field {
  return [tag(field, VARINT), varint(BigInt(value))];
}

/** A float field. */
export function floatField(field: number, value: number): Field {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return [tag(field, FIXED_32), bytes];
}

/** A bytes field. */
export function bytesField(field: number, bytes: Uint8Array): Field {
  return [tag(field, LENGTH_DELIMITED), varint(BigInt(bytes.length)), bytes];
}

/** A string field, UTF-8. */
export function stringField(field: number, text: string): Field {
  return bytesField(field, Buffer.from(text, 'utf8'));
}

/** A message field, given the fields of the message. */
export function messageField(field: number, fields: readonly Field[]): Field {
  const pieces = fields.flat();
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  return [tag(field, LENGTH_DELIMITED), varint(BigInt(length)), ...pieces];
}

/** The bytes of a whole message. */
export function encodeMessage(fields: readonly Field[]): Buffer {
  return Buffer.concat(fields.flat());
}
