import { CideryError } from '../../base/error.ts';

const segmentMaxBytes = 255;
const pathMaxBytes = 1024;
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const forbidden = /[\u0000-\u001f\u007f-\u009f\\\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

function bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** Why a path that came from a hub may not become a path on this disk, or null when it may. */
function fileNameFault(path: string): string | null {
  if (path === '') return 'it is empty';
  if (/\p{Cs}/u.test(path)) return 'it is not well-formed text';
  if (forbidden.test(path)) return 'it has a backslash, a control or a direction character';
  if (bytes(path) > pathMaxBytes) return `it is longer than ${pathMaxBytes} bytes`;
  if (path.startsWith('/')) return 'it is absolute';
  if (/^[A-Za-z]:/.test(path)) return 'it begins with a drive letter';
  for (const segment of path.split('/')) {
    if (segment === '') return 'it has an empty part';
    if (segment === '.' || segment === '..') return `it has the part ${segment}`;
    if (bytes(segment) > segmentMaxBytes) return `a part is longer than ${segmentMaxBytes} bytes`;
  }
  return null;
}

/** Errors: `hub_hostile_name`. */
export function checkFileName(repository: string, path: string): void {
  const fault = fileNameFault(path);
  if (fault === null) return;
  const shown = JSON.stringify(path.slice(0, 200));
  throw new CideryError('hub_hostile_name', `${repository} has the file name ${shown}: ${fault}`, {
    hint: 'nothing of this repository was written; do not use it',
  });
}
