import { quoted } from './forms.js';

const USD = 'must be a decimal string such as "5.00", with at most 9 places';
/** US dollars as a decimal string with at most 9 places, as quoted YAML keeps it exact: "0.02". */
export const usdSchema = quoted(USD).regex(/^\d{1,7}(\.\d{1,9})?$/, USD);

/** Nano-USD in a decimal amount of US dollars, exactly. */
export function nanoUsd(dollars: string): bigint {
  const [whole = '0', fraction = ''] = dollars.split('.');
  return BigInt(whole + fraction.padEnd(9, '0'));
}
