import { CideryError } from '../../base/error.ts';

/** A model repository of the hub as a user names it. */
export interface RepositoryReference {
  /** `org/name`. */
  readonly repository: string;
  /** Branch, tag or commit; `main` unless the user said otherwise. */
  readonly revision: string;
  /** For a repository of GGUF files: which one, for example `Q4_K_M`; null is the best default. */
  readonly quantization: string | null;
}

/**
 * Letters, digits, `-`, `_`, `.`; neither `--` nor `..`, and no `-` or `.` at an end (the hub's own
 * rule).
 */
const part = /^(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?$/;
const revisionPart = /^(?!\.+$)[A-Za-z0-9._-]{1,128}$/;
const quantizationPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/;

function isRevision(text: string): boolean {
  const parts = text.split('/');
  return (
    parts.length <= 4 && parts.every((piece) => revisionPart.test(piece) && !piece.includes('..'))
  );
}

/**
 * Parses `org/name`, `org/name@revision`, `org/name:QUANT` and `org/name@revision:QUANT`; null when
 * the text has another form. Every part is safe as a folder name afterwards.
 */
export function parseRepository(text: string): RepositoryReference | null {
  const match = /^([^/@:]+)\/([^/@:]+)(?:@([^@:]+))?(?::([^@:]+))?$/.exec(text);
  if (match === null) return null;
  const [, organization = '', name = '', revision = 'main', quantization = null] = match;
  if (!part.test(organization) || !part.test(name) || !isRevision(revision)) return null;
  // `local/…` is how models outside the hub are named; the hub has no such organization.
  if (organization === 'local') return null;
  if (quantization !== null && !quantizationPattern.test(quantization)) return null;
  return { repository: `${organization}/${name}`, revision, quantization };
}

/** As `parseRepository`, but another form is the error `model_reference_malformed`. */
export function requireRepository(text: string): RepositoryReference {
  const reference = parseRepository(text);
  if (reference !== null) return reference;
  throw new CideryError(
    'model_reference_malformed',
    `${JSON.stringify(text)} names no model of the hub`,
    {
      hint: 'write org/name, org/name@revision, or org/name:QUANT for a GGUF repository',
    },
  );
}

/** The text that `parseRepository` reads back. */
export function formatRepository(reference: RepositoryReference): string {
  const revision = reference.revision === 'main' ? '' : `@${reference.revision}`;
  const quantization = reference.quantization === null ? '' : `:${reference.quantization}`;
  return `${reference.repository}${revision}${quantization}`;
}
