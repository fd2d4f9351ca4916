import { uniqueName } from './test-services.js';

export interface VirtualHost {
  readonly url: string;
  readonly name: string;
  /** Removes it with everything in it; its connections are closed by the broker. Safe twice. */
  drop(): Promise<void>;
}

export interface VirtualHostOptions {
  readonly rabbitmqUrl: string;
  /** `http://user:password@host:port` of the management plugin; the user must be an administrator. */
  readonly managementUrl: string;
}

/** A virtual host of its own, in which the user of `rabbitmqUrl` may do everything. */
export async function createVirtualHost({ rabbitmqUrl, managementUrl }: VirtualHostOptions): Promise<VirtualHost> {
  const name = uniqueName('test-');
  const url = new URL(rabbitmqUrl);
  url.pathname = `/${name}`;
  const user = decodeURIComponent(url.username) || 'guest';
  await call(managementUrl, 'PUT', `/api/vhosts/${name}`, {});
  await call(managementUrl, 'PUT', `/api/permissions/${name}/${encodeURIComponent(user)}`, {
    configure: '.*',
    write: '.*',
    read: '.*',
  });
  return { url: url.href, name, drop: () => call(managementUrl, 'DELETE', `/api/vhosts/${name}`) };
}

async function call(managementUrl: string, method: string, path: string, body?: object): Promise<void> {
  const base = new URL(managementUrl);
  const credentials = `${decodeURIComponent(base.username)}:${decodeURIComponent(base.password)}`;
  const response = await fetch(new URL(path, base.origin), {
    method,
    headers: {
      authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
      'content-type': 'application/json',
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const gone = method === 'DELETE' && response.status === 404;
  if (!response.ok && !gone) throw new Error(`${method} ${path} on ${base.host}: ${response.status} ${text}`);
}
