import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { asyncApiYaml } from './asyncapi.js';
import { ROOT } from './paths.js';

writeFileSync(join(ROOT, 'docs', 'asyncapi.yaml'), asyncApiYaml());
