import { join } from 'node:path';
import { writeDiagrams } from './diagrams.js';
import { ROOT } from './paths.js';

/** `npm run diagrams -w scripts`: draws docs/images anew. */
await writeDiagrams(join(ROOT, 'docs', 'images'));
