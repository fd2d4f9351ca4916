import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);

export interface Certificate {
  /** Of the files: `<name>.crt` and `<name>.key`. */
  readonly name: string;
  /** As openssl takes it: `/O=system:masters/CN=admin`. */
  readonly subject: string;
  /** Such as `IP:127.0.0.1,DNS:localhost`. */
  readonly names: string;
}

/** Makes a certificate authority (`ca.crt`), certificates signed by it, and a key pair for service accounts, for a day. */
export async function makeCertificates(openssl: string, folder: string, certificates: readonly Certificate[]) {
  const run = (...args: readonly string[]): Promise<unknown> => execute(openssl, args, { cwd: folder });
  const key = ['-newkey', 'rsa:2048', '-nodes'];
  await run('req', '-x509', ...key, '-days', '1', '-subj', '/CN=ca', '-keyout', 'ca.key', '-out', 'ca.crt');
  for (const { name, subject, names } of certificates) {
    await writeFile(join(folder, `${name}.ext`), `subjectAltName=${names}\n`);
    await run('req', ...key, '-subj', subject, '-keyout', `${name}.key`, '-out', `${name}.csr`);
    const signer = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '1'];
    await run('x509', '-req', '-in', `${name}.csr`, ...signer, '-extfile', `${name}.ext`, '-out', `${name}.crt`);
  }
  await run('genrsa', '-out', 'accounts.key', '2048');
  await run('rsa', '-in', 'accounts.key', '-pubout', '-out', 'accounts.pub');
}
