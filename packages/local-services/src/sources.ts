import { dockerAnswers } from './containers.js';
import { givenUrls } from './given-server.js';
import { canInstallHere, installServers } from './installation.js';
import { findPrograms, type Programs } from './programs.js';
import { type Choice, chooseSources } from './resolution.js';
import { type Report, SERVER_NAMES, type ServerName } from './server.js';
import { SERVER_VARIABLES } from './test-services.js';

/** Where a server comes from once packages have been installed. */
export type Source = Exclude<Choice, { source: 'installation' | 'none' }>;

export interface Sources {
  readonly choices: Readonly<Record<ServerName, Source>>;
  readonly programs: Programs;
}

/**
 * Looks at this machine, installs what is missing if it may, and says where each server comes from.
 *
 * @throws Error that lists the remedies when a server cannot be had.
 */
export async function findSources(environment: NodeJS.ProcessEnv, report: Report): Promise<Sources> {
  const problems: string[] = [];
  const before = await look(environment, canInstallHere());
  const missing = SERVER_NAMES.filter((name) => before.choices[name].source === 'installation');
  if (missing.length === 0) return settle(before, problems);
  await installServers(missing, report).catch((error: unknown) => {
    problems.push(error instanceof Error ? error.message : String(error));
  });
  return settle(await look(environment, false), problems);
}

async function look(environment: NodeJS.ProcessEnv, mayInstall: boolean) {
  const programs = findPrograms(environment['PATH'] ?? '');
  const given = givenUrls(environment);
  const installed = {
    postgres: programs.postgres !== undefined,
    redis: programs.redis !== undefined,
    rabbitmq: programs.rabbitmq !== undefined,
  };
  const wanted = SERVER_NAMES.some((name) => given[name] === undefined && !installed[name]);
  const docker = wanted && !mayInstall && (await dockerAnswers(programs.docker));
  return { programs, choices: chooseSources({ given, installed, canInstall: mayInstall, docker }) };
}

function settle(looked: Awaited<ReturnType<typeof look>>, problems: readonly string[]): Sources {
  const settled = SERVER_NAMES.flatMap((name): [ServerName, Source][] => {
    const choice = looked.choices[name];
    return choice.source === 'none' || choice.source === 'installation' ? [] : [[name, choice]];
  });
  const missing = SERVER_NAMES.filter((name) => !settled.some(([found]) => found === name));
  if (missing.length > 0) throw new Error(missingServers(missing, problems));
  return { programs: looked.programs, choices: Object.fromEntries(settled) as Record<ServerName, Source> };
}

/** What to do when servers cannot be had, for people. */
export function missingServers(names: readonly ServerName[], problems: readonly string[] = []): string {
  const variables = {
    postgres: SERVER_VARIABLES.postgresUrl,
    redis: SERVER_VARIABLES.redisUrl,
    rabbitmq: `${SERVER_VARIABLES.rabbitmqUrl} and ${SERVER_VARIABLES.rabbitmqManagementUrl}`,
  };
  return [
    `Sluice needs ${names.join(' and ')}, and found neither a server, nor its programs, nor a Docker engine. Either`,
    `- name servers of yours: ${names.map((name) => variables[name]).join(', ')};`,
    '- install the programs (Debian, Ubuntu: apt-get install postgresql redis-server rabbitmq-server;',
    '  Homebrew: brew install postgresql redis rabbitmq), they are started privately, not as system services;',
    '- run as root on Debian or Ubuntu, and they are installed for you;',
    '- or start Docker.',
    ...problems,
  ].join('\n');
}
