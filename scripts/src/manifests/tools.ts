import { execFile } from 'node:child_process';
import { access, cp, mkdir, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { LOCAL } from '../paths.js';

const execute = promisify(execFile);
const TOOLS = join(LOCAL, 'tools');

/** Programs that are not in npm: the module they are built from, and the package of their main program. */
const MODULES = {
  helm: { module: 'helm.sh/helm/v3', version: 'v3.22.0', main: './cmd/helm' },
  'helm-unittest': { module: 'github.com/helm-unittest/helm-unittest', version: 'v1.1.2', main: './cmd/helm-unittest' },
  kubeconform: { module: 'github.com/yannh/kubeconform', version: 'v0.8.0', main: './cmd/kubeconform' },
} as const;
export type Tool = keyof typeof MODULES;

/** Runs a program to its end. @returns what it printed. @throws Error with all it printed when it fails. */
export async function run(program: string, args: readonly string[], cwd?: string, env = {}): Promise<string> {
  try {
    const options = { cwd, maxBuffer: 1 << 28, env: { ...process.env, ...env } };
    return (await execute(program, args, options)).stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { readonly stdout?: string; readonly stderr?: string };
    throw new Error(`${program} ${args.join(' ')}\n${stdout}${stderr}`, { cause: error });
  }
}

/**
 * Where a program is: on the PATH, in `.local/tools`, or built there from its Go module.
 *
 * @throws Error that says how it can be had when it is nowhere and there is no Go.
 */
export async function findTool(tool: Tool): Promise<string> {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), TOOLS];
  for (const folder of folders) {
    const path = join(folder, tool);
    if (await exists(path)) return path;
  }
  return buildTool(tool);
}

async function buildTool(tool: Tool): Promise<string> {
  const { module, version, main } = MODULES[tool];
  const path = join(TOOLS, tool);
  const sources = join(TOOLS, `${tool}-${version}`);
  const go = { CGO_ENABLED: '0', GOFLAGS: '-mod=mod' };
  console.log(`building ${tool} ${version}`);
  const found = await run('go', ['mod', 'download', '-json', `${module}@${version}`], undefined, go).catch(
    (error: unknown) => {
      const hint = `${tool} is not on the PATH: install it, or Go to build it from ${module}@${version}`;
      throw new Error(hint, { cause: error });
    },
  );
  // n.b. not `go install`: helm-unittest replaces a module, which is only allowed to a main module. The cache is read-only.
  const { Dir: cached } = JSON.parse(found) as { readonly Dir: string };
  await rm(sources, { recursive: true, force: true });
  await mkdir(TOOLS, { recursive: true });
  await cp(cached, sources, { recursive: true });
  await run('chmod', ['-R', 'u+w', sources]);
  await run('go', ['build', '-ldflags=-s -w', '-o', path, main], sources, go);
  await rm(sources, { recursive: true });
  return path;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
