import { parseArgs } from 'node:util';
import { ROOT } from '../paths.js';
import { assembleImage, isArchitecture } from './assembly.js';
import { IMAGES, isImageName } from './images.js';

const USAGE = `Usage: node scripts/dist/images/main.js <${Object.keys(IMAGES).join('|')}> <folder> [--architecture amd64|arm64]\n`;

/** Writes the files of one image into a folder. The Dockerfile runs it after the build. */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { architecture: { type: 'string', default: process.arch === 'arm64' ? 'arm64' : 'amd64' } },
});
const [image = '', target] = positionals;
const { architecture } = values;

if (!isImageName(image) || target === undefined || !isArchitecture(architecture)) {
  process.stderr.write(USAGE);
  process.exitCode = 64; // EX_USAGE of sysexits.h
} else {
  await assembleImage({ root: ROOT, image, target, architecture });
}
