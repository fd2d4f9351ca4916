import { describe, expect, it } from '@jest/globals';
import { containerArguments } from './containers.js';

const slot = { slotDirectory: '/somewhere/slot-1', keepData: false };

describe('containerArguments', () => {
  it('publishes every port on loopback only', () => {
    const args = containerArguments('rabbitmq', [20_001, 20_002], slot);
    const published = args.filter((_, index) => args[index - 1] === '--publish');
    expect(published).toEqual(['127.0.0.1:20001:5672', '127.0.0.1:20002:15672']);
    expect(args).toContain('rabbitmq:4-management');
  });

  it('labels the container with its slot, so that the next start finds what a killed one left', () => {
    const label = (slotDirectory: string) => {
      const args = containerArguments('redis', [1], { ...slot, slotDirectory });
      return args[args.indexOf('--label') + 1];
    };
    expect(label('/a')).toMatch(/^dev\.sluice\.slot=[0-9a-f]{16}$/);
    expect(label('/a')).toBe(label('/a'));
    expect(label('/a')).not.toBe(label('/b'));
  });

  it('keeps data in a named volume only when asked to', () => {
    expect(containerArguments('postgres', [1], slot)).not.toContain('--volume');
    const args = containerArguments('postgres', [1], { ...slot, keepData: true });
    expect(args[args.indexOf('--volume') + 1]).toMatch(/^sluice-postgres-[0-9a-f]{16}:\/var\/lib\/postgresql$/);
  });

  it('passes the durability settings to the server, after the image', () => {
    const args = containerArguments('redis', [1], slot);
    const command = args.slice(args.indexOf('redis:8.2') + 1);
    expect(command.join(' ')).toBe(
      'redis-server --save  --appendonly yes --appendfsync everysec --maxmemory-policy noeviction',
    );
  });
});
