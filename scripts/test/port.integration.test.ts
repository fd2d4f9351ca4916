import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { choosePort } from '../src/port.js';

let holder: Server;
let port: number;

beforeEach(async () => {
  holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  ({ port } = holder.address() as AddressInfo);
});
afterEach(() => {
  holder.close();
});

describe('choosePort', () => {
  it('refuses a port that is in use, by its number', async () => {
    await expect(choosePort(port)).rejects.toThrow(`port ${port} is in use`);
  });

  it('takes a port that was asked for and is free, and leaves it free', async () => {
    holder.close();
    await once(holder, 'close');
    expect(await choosePort(port)).toBe(port);
    expect(await choosePort(port)).toBe(port);
  });

  it('leaves the choice to the system when told 0', async () => {
    expect(await choosePort(0)).toBe(0);
  });
});
