import { expect, it } from '@jest/globals';
import { ServiceError } from '@sluice/contracts';
import { refusalFacts } from './ingest-answer.js';

it('tells the log which fields of a submission are wrong, and nothing of what is in them', () => {
  const fields = [{ field: 'inputs.0.data.3', reason: 'is 4711; UINT8 holds whole numbers from 0 to 255' }];
  const error = new ServiceError('invalid_request', `${fields[0]?.field} ${fields[0]?.reason}.`, { fields });
  expect(refusalFacts(error)).toEqual({ code: 'invalid_request', fields: ['inputs.0.data.3'] });
});
