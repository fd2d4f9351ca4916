/** Stands in for an inference process that never gets done with loading its models. It ends with its pipe. */
import { createReadStream } from 'node:fs';
import { FRAME_PIPE } from '../dist/inference/inference-protocol.js';

createReadStream('', { fd: FRAME_PIPE }).resume();
