import { readFileSync } from 'node:fs';
import { invariant } from '../base/error.ts';

/** The version in this package's package.json, which lies beside dist/ and src/. */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  // By hand, as zod takes longer to load than everything else that `cidery --version` does.
  const value: unknown = JSON.parse(text);
  const found = typeof value === 'object' && value !== null && 'version' in value && value.version;
  invariant(typeof found === 'string', 'package.json has a version');
  return found;
}
