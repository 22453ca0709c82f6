import { z } from 'zod';
import { limits } from '../../base/limits.ts';
import { type HubAccess, HubError } from './access.ts';
import { checkFileName } from './file-names.ts';
import type { RepositoryReference } from './repository.ts';
import { type HubAnswer, withAnswer } from './request.ts';
import { type RetryNotice, withRetries } from './retry-budget.ts';

/** What a file's bytes must hash to: LFS files by SHA-256, small ones as the git blob they are. */
export interface Digest {
  readonly algorithm: 'sha256' | 'gitSha1';
  readonly hex: string;
}

export interface HubFile {
  /** Path in the repository, checked to be safe as a path here. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly digest: Digest;
}

/**
 * A repository at one commit. Files without a hash in the listing are asked for when they are
 * chosen.
 */
export interface Listing {
  readonly repository: string;
  /** 40 hexadecimal digits. */
  readonly commit: string;
  readonly files: readonly ListedFile[];
}

interface ListedFile {
  readonly path: string;
  readonly facts: { readonly sizeBytes: number; readonly digest: Digest } | null;
}

const sha1 = z.string().regex(/^[0-9a-f]{40}$/);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const answerSchema = z.looseObject({
  sha: sha1,
  siblings: z
    .array(
      z.looseObject({
        rfilename: z.string(),
        size: z.int().nonnegative().nullish(),
        blobId: sha1.nullish(),
        lfs: z.looseObject({ sha256, size: z.int().nonnegative() }).nullish(),
      }),
    )
    .max(limits.hubListingMaxFiles),
});

type Sibling = z.infer<typeof answerSchema>['siblings'][number];

function badListing(repository: string, what: string, cause?: unknown): HubError {
  return new HubError(
    'hub_bad_answer',
    `the hub's answer for ${repository} makes no sense: ${what}`,
    {
      hint: 'check HF_ENDPOINT; something else than a model hub may answer there',
      cause,
    },
  );
}

async function readBody(answer: HubAnswer, repository: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of answer.chunks()) {
    total += chunk.length;
    if (total > limits.hubListingMaxBytes) throw badListing(repository, 'a listing without end');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseAnswer(text: string, repository: string): z.infer<typeof answerSchema> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw badListing(repository, 'it is no JSON', error);
  }
  const parsed = answerSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw badListing(repository, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
}

function factsOf(sibling: Sibling): ListedFile['facts'] {
  if (sibling.lfs) {
    const digest = { algorithm: 'sha256', hex: sibling.lfs.sha256 } as const;
    return { sizeBytes: sibling.lfs.size, digest };
  }
  if (typeof sibling.size !== 'number' || typeof sibling.blobId !== 'string') return null;
  return { sizeBytes: sibling.size, digest: { algorithm: 'gitSha1', hex: sibling.blobId } };
}

/**
 * Every name must be safe on this disk, whether the file is wanted or not: one bad name damns all.
 */
function checkNames(repository: string, siblings: readonly Sibling[]): void {
  const seen = new Set<string>();
  for (const { rfilename } of siblings) {
    checkFileName(repository, rfilename);
    if (seen.has(rfilename)) throw badListing(repository, `${rfilename} is listed twice`);
    seen.add(rfilename);
  }
}

/**
 * Asks the hub for a repository's commit and files at a revision
 * (`/api/models/{id}/revision/{rev}?blobs=true`).
 * Errors: those of `withAnswer`, `hub_bad_answer`, `hub_hostile_name`.
 */
export async function fetchListing(
  access: HubAccess,
  reference: RepositoryReference,
  signal: AbortSignal,
  onRetry: (notice: RetryNotice) => void,
): Promise<Listing> {
  const { repository, revision } = reference;
  const at = `${repository}/revision/${encodeURIComponent(revision)}`;
  const url = `${access.settings.endpoint}/api/models/${at}?blobs=true`;
  const text = await withRetries(access, signal, onRetry, () =>
    withAnswer(access, { url, method: 'GET', subject: repository }, signal, (answer) =>
      readBody(answer, repository),
    ),
  );
  const { sha, siblings } = parseAnswer(text, repository);
  checkNames(repository, siblings);
  const files = siblings.map((entry) => ({ path: entry.rfilename, facts: factsOf(entry) }));
  return { repository, commit: sha, files };
}

/** The address of a file's bytes at a commit. */
export function fileUrl(
  access: HubAccess,
  repository: string,
  commit: string,
  path: string,
): string {
  const encoded = path.split('/').map(encodeURIComponent).join('/');
  return `${access.settings.endpoint}/${repository}/resolve/${commit}/${encoded}`;
}

function digestOfEtag(etag: string | null): Digest | null {
  const hex = (etag ?? '')
    .replace(/^W\//, '')
    .replace(/^"(.*)"$/, '$1')
    .toLowerCase();
  if (sha256.safeParse(hex).success) return { algorithm: 'sha256', hex };
  return sha1.safeParse(hex).success ? { algorithm: 'gitSha1', hex } : null;
}

/**
 * A file's size and hash from the headers of its address, for hubs whose listing does not say
 * (`X-Linked-Size` and `X-Linked-Etag` for LFS files, else `Content-Length` and `ETag`).
 * Errors: those of `withAnswer`, `hub_bad_answer` (no usable size or hash, or another commit's).
 */
export async function fetchFileFacts(
  access: HubAccess,
  listing: Listing,
  path: string,
  signal: AbortSignal,
  onRetry: (notice: RetryNotice) => void,
): Promise<HubFile> {
  const { repository, commit } = listing;
  const url = fileUrl(access, repository, commit, path);
  const request = { url, method: 'HEAD', subject: repository, stayOnHub: true } as const;
  const headers = await withRetries(access, signal, onRetry, () =>
    withAnswer(access, request, signal, ({ response }) => Promise.resolve(response.headers)),
  );
  const served = headers.get('x-repo-commit');
  if (served !== null && served !== commit) throw badListing(repository, `${path} is of ${served}`);
  const size = headers.get('x-linked-size') ?? headers.get('content-length') ?? '';
  const digest = digestOfEtag(headers.get('x-linked-etag') ?? headers.get('etag'));
  if (!/^\d{1,15}$/.test(size) || digest === null) {
    throw badListing(repository, `${path} comes without a size and a hash`);
  }
  return { path, sizeBytes: Number(size), digest };
}
