import { invalidRequest } from './field-errors.js';
import { sha256 } from './submission.js';

/** Grows when a cursor of an earlier form can no longer be read. */
const VERSION = '1';
const SEPARATOR = ' ';
const FILTER_CHARS = 10;

/** Filters of a list; the same filters in the same order of members are the same list. */
export type Filters = Readonly<Record<string, unknown>>;

/** Where the next page of a list begins: after `last`. Opaque to clients, and good for lists with these filters only. */
export function cursorAfter(last: string, filters: Filters): string {
  return Buffer.from([VERSION, last, digest(filters)].join(SEPARATOR)).toString('base64url');
}

/**
 * The last item of the page before.
 *
 * @throws ServiceError `invalid_request` for what no list with these filters has given out.
 */
export function readCursor(cursor: string, filters: Filters, isItem: (last: string) => boolean): string {
  const [version, last = '', list] = Buffer.from(cursor, 'base64url').toString().split(SEPARATOR);
  if (version !== VERSION || !isItem(last)) throw refused('is not a cursor of this API');
  if (list !== digest(filters)) throw refused('belongs to a list with other filters');
  return last;
}

function digest(filters: Filters): string {
  return sha256(JSON.stringify(filters)).slice(0, FILTER_CHARS);
}

function refused(reason: string) {
  return invalidRequest([{ field: 'cursor', reason }]);
}

/** A page of a list in the form of all lists of the API. */
export function listPage<Item, View>(
  items: readonly Item[],
  limit: number,
  { view, cursor }: { readonly view: (item: Item) => View; readonly cursor: (last: Item) => string },
) {
  const page = items.slice(0, limit);
  const last = page.at(-1);
  const hasMore = items.length > limit;
  return { object: 'list', data: page.map(view), hasMore, nextCursor: hasMore && last ? cursor(last) : null };
}
