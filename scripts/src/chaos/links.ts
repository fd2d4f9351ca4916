import { findFreePorts, type ServerName } from '@sluice/local-services';
import { createTcpProxy, type TcpProxy } from './tcp-proxy.js';

/** The way from each app to each server that it uses, as a proxy of its own, so that one app can be cut off alone. */
export interface Links {
  /** By `<app>><server>`. @throws Error when there is no such way. */
  of(link: string): TcpProxy;
  /** The server URLs that this app is to use. */
  environmentOf(app: string): Readonly<Record<string, string>>;
  close(): Promise<void>;
}

const VARIABLES: Readonly<Record<ServerName, string>> = {
  postgres: 'SLUICE_POSTGRES_URL',
  redis: 'SLUICE_REDIS_URL',
  rabbitmq: 'SLUICE_RABBITMQ_URL',
};

/** Which servers an app speaks to. */
export function serversOf(app: string): readonly ServerName[] {
  return app.startsWith('ml-worker') ? ['rabbitmq'] : ['postgres', 'redis', 'rabbitmq'];
}

export function linkName(app: string, server: ServerName): string {
  return `${app}>${server}`;
}

/** `environment`: the URLs of the servers themselves. */
export async function createLinks(
  apps: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<Links> {
  const ways = apps.flatMap((app) => serversOf(app).map((server) => ({ app, server })));
  const ports = await findFreePorts(ways.length);
  const made = ways.map(async ({ app, server }, index) => {
    const url = new URL(environment[VARIABLES[server]] ?? '');
    const proxy = await createTcpProxy(ports[index] ?? 0, { host: url.hostname, port: Number(url.port) });
    url.port = String(proxy.port);
    return { app, name: linkName(app, server), variable: VARIABLES[server], url: url.href, proxy };
  });
  const links = await Promise.all(made);
  return {
    of(name) {
      const link = links.find((each) => each.name === name);
      if (!link) throw new Error(`there is no way ${name}`);
      return link.proxy;
    },
    environmentOf: (app) =>
      Object.fromEntries(links.filter((link) => link.app === app).map(({ variable, url }) => [variable, url])),
    async close() {
      await Promise.all(links.map(({ proxy }) => proxy.close()));
    },
  };
}
