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

/** Four bytes a draw. */
function fill<T extends ArrayBufferView>(random: Random, view: T, offset = 0, size = view.byteLength - offset): T {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + offset, size);
  let word = 0;
  for (let index = 0; index < bytes.length; index += 1) {
    word = index % 4 === 0 ? random.int(0x100000000) : word >>> 8;
    bytes[index] = word;
  }
  return view;
}

function hexOf(word: number): string {
  return `${HEX[word >>> 24]}${HEX[(word >>> 16) & 0xff]}${HEX[(word >>> 8) & 0xff]}${HEX[word & 0xff]}`;
}

function uuid(random: Random): string {
  const draw = (): number => random.int(0x100000000);
  // RFC 9562, version 4: the version and the variant are fixed.
  const middle = hexOf((draw() & 0xffff0fff) | 0x4000);
  const rest = hexOf((draw() & 0x3fffffff) | 0x80000000);
  return `${hexOf(draw())}-${middle.slice(0, 4)}-${middle.slice(4)}-${rest.slice(0, 4)}-${rest.slice(4)}${hexOf(draw())}`;
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
