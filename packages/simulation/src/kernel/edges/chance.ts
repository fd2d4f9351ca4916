import crypto from 'node:crypto';
import type { Kernel, Random } from '../types.js';
import { kernelNow } from './host.js';

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const sources = new WeakMap<Kernel, Random>();

/** Where chance comes from now; undefined outside a simulation. */
function source(what: string): Random | undefined {
  const kernel = kernelNow(what);
  if (!kernel) return undefined;
  let random = sources.get(kernel);
  if (!random) sources.set(kernel, (random = kernel.random.fork('chance')));
  return random;
}

function fill<T extends ArrayBufferView>(random: Random, view: T, offset = 0, size = view.byteLength - offset): T {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + offset, size);
  for (let index = 0; index < bytes.length; index += 1) bytes[index] = random.int(256);
  return view;
}

function uuid(random: Random): string {
  const byte = (and = 0xff, or = 0): string => HEX[(random.int(256) & and) | or] ?? '';
  const bytes = (count: number): string => Array.from({ length: count }, () => byte()).join('');
  // RFC 9562, version 4: the version and the variant are fixed.
  return `${bytes(4)}-${bytes(2)}-${byte(0x0f, 0x40)}${byte()}-${byte(0x3f, 0x80)}${byte()}-${bytes(6)}`;
}

type Done<T> = (error: null, value: T) => void;

/** `Math.random` and what `node:crypto` and Web Crypto draw follow from the seed. */
export function installChance(): void {
  const math = Math.random;
  const { randomUUID, randomInt: realInt, randomBytes: realBytes, randomFillSync: realFill } = crypto;
  const web = crypto.webcrypto;
  const webReal = { getRandomValues: web.getRandomValues.bind(web), randomUUID: web.randomUUID.bind(web) };

  function randomInt(...args: (number | Done<number>)[]): number | undefined {
    const random = source('randomInt');
    if (!random) return Reflect.apply(realInt, crypto, args) as number;
    const numbers = args.filter((arg) => typeof arg === 'number');
    const [lo, hi] = numbers.length > 1 ? [numbers[0] ?? 0, numbers[1] ?? 0] : [0, numbers[0] ?? 0];
    return answered(lo + random.int(hi - lo), args.at(-1));
  }

  function randomBytes(size: number, done?: Done<Buffer>): Buffer | undefined {
    const random = source('randomBytes');
    if (!random) return Reflect.apply(realBytes, crypto, done ? [size, done] : [size]) as Buffer;
    return answered(fill(random, Buffer.allocUnsafe(size)), done);
  }

  function randomFillSync<T extends ArrayBufferView>(view: T, offset?: number, size?: number): T {
    const random = source('randomFillSync');
    return random ? fill(random, view, offset, size) : realFill(view as never, offset, size);
  }

  Math.random = () => source('Math.random')?.next() ?? math();
  Object.assign(crypto, {
    randomUUID: () => {
      const random = source('randomUUID');
      return random ? uuid(random) : randomUUID();
    },
    randomInt,
    randomBytes,
    randomFillSync,
  });
  web.getRandomValues = (view) => {
    const random = source('getRandomValues');
    return random && view ? fill(random, view) : webReal.getRandomValues(view);
  };
  web.randomUUID = () => {
    const random = source('randomUUID');
    return random ? (uuid(random) as ReturnType<typeof webReal.randomUUID>) : webReal.randomUUID();
  };
}

/** By callback where one is given, as an event of its own. */
function answered<T>(value: T, done: unknown): T | undefined {
  if (typeof done !== 'function') return value;
  setImmediate(() => (done as Done<T>)(null, value));
  return undefined;
}
