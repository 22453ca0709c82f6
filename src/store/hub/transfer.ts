import { type HubAccess, HubError } from './access.ts';
import { type ByteRange, cutRanges } from './byte-ranges.ts';
import type { HubFile } from './listing.ts';
import { inParallel } from './parallel.ts';
import type { PartialFile } from './partial-file.ts';
import { type HubAnswer, type HubRequest, withAnswer } from './request.ts';
import { RetryBudget, type RetryNotice } from './retry-budget.ts';

/** One file's way from the hub to a partial file. */
export interface Transfer {
  readonly url: string;
  /** The model, as messages name it. */
  readonly subject: string;
  readonly file: HubFile;
  readonly partial: PartialFile;
  /** Bytes that were not there before. */
  readonly onBytes: (bytes: number) => void;
  readonly onRetry: (notice: RetryNotice) => void;
}

/** The server sent the whole file where a range was asked for. */
class RangesIgnored extends Error {}

function wrongLength(transfer: Transfer, what: string, retry: boolean): HubError {
  const { path, sizeBytes } = transfer.file;
  const message = `${path} of ${transfer.subject} should have ${sizeBytes} bytes, but ${what}`;
  return new HubError('download_wrong_length', message, {
    hint: 'the hub or a cache before it is broken; try again later',
    retry,
  });
}

/** Checks what a 206 says it holds; returns where it ends. */
function checkContentRange(transfer: Transfer, response: Response, range: ByteRange): number {
  const text = response.headers.get('content-range') ?? '';
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(text);
  const [, start = '', last = '', total = ''] = match ?? [];
  const end = Number(last) + 1;
  const isTotal = total === '*' || Number(total) === transfer.file.sizeBytes;
  if (match === null || Number(start) !== range.start || end > range.end || !isTotal) {
    throw wrongLength(
      transfer,
      `the answer for ${range.start}-${range.end - 1} is "${text}"`,
      false,
    );
  }
  return end;
}

/** Checks a 200: it holds the whole file. */
function checkWhole(transfer: Transfer, response: Response): void {
  const length = response.headers.get('content-length');
  const isPlain = response.headers.get('content-encoding') === null;
  if (length !== null && isPlain && Number(length) !== transfer.file.sizeBytes) {
    throw wrongLength(transfer, `the answer has ${length}`, false);
  }
}

/** Writes a body that begins at `start`; resolves to where it ended, which is at most `end`. */
async function writeBody(transfer: Transfer, answer: HubAnswer, range: ByteRange): Promise<number> {
  let position = range.start;
  for await (const chunk of answer.chunks()) {
    if (position + chunk.length > range.end) throw wrongLength(transfer, 'more came', false);
    transfer.onBytes(await transfer.partial.write(position, chunk));
    position += chunk.length;
  }
  return position;
}

function requestOf(transfer: Transfer, range: ByteRange): HubRequest {
  const isWhole = range.start === 0 && range.end === transfer.file.sizeBytes;
  const headers = isWhole ? {} : { range: `bytes=${range.start}-${range.end - 1}` };
  return { url: transfer.url, method: 'GET', subject: transfer.subject, headers };
}

/**
 * One request for a range. Throws unless the range's end was reached; what came is written either
 * way.
 */
async function fetchRange(
  access: HubAccess,
  transfer: Transfer,
  range: ByteRange,
  signal: AbortSignal,
): Promise<void> {
  await withAnswer(access, requestOf(transfer, range), signal, async (answer) => {
    const { response } = answer;
    const isWhole = range.start === 0 && range.end === transfer.file.sizeBytes;
    if (response.status === 200) {
      if (!isWhole) throw new RangesIgnored();
      checkWhole(transfer, response);
    }
    const end = response.status === 206 ? checkContentRange(transfer, response, range) : range.end;
    const reached = await writeBody(transfer, answer, { start: range.start, end });
    if (reached < range.end) {
      throw wrongLength(transfer, `the answer ended at ${reached}`, true);
    }
  });
}

/** The same transfer, whose new bytes count for the budget as well. */
function counting(transfer: Transfer, budget: RetryBudget): Transfer {
  const onBytes = (bytes: number): void => {
    budget.received(bytes);
    transfer.onBytes(bytes);
  };
  return { ...transfer, onBytes };
}

/** Fills one piece, going on where the last try broke off. */
async function fillPiece(
  access: HubAccess,
  transfer: Transfer,
  piece: ByteRange,
  signal: AbortSignal,
): Promise<void> {
  const budget = new RetryBudget(access, transfer.onRetry);
  let { start } = piece;
  const counted = counting(transfer, budget);
  while (start < piece.end) {
    try {
      await fetchRange(access, counted, { start, end: piece.end }, signal);
      return;
    } catch (error) {
      if (error instanceof RangesIgnored) throw error;
      await budget.waitAfter(error, signal);
      const next = transfer.partial.missing().find(({ end }) => end > start);
      start = Math.min(Math.max(start, next?.start ?? piece.end), piece.end);
    }
  }
}

/** For a server without ranges: the whole file in one answer, from its beginning at every try. */
async function fillWhole(
  access: HubAccess,
  transfer: Transfer,
  signal: AbortSignal,
): Promise<void> {
  const budget = new RetryBudget(access, transfer.onRetry);
  const counted = counting(transfer, budget);
  const whole = { start: 0, end: transfer.file.sizeBytes };
  while (transfer.partial.missing().length > 0) {
    try {
      await fetchRange(access, counted, whole, signal);
    } catch (error) {
      await budget.waitAfter(error, signal);
    }
  }
}

/**
 * Fetches what a partial file lacks: several ranges at once where the server does ranges, else in
 * one piece. Its state is saved when this settles, however it does.
 * Errors: those of `withAnswer`, `download_wrong_length`, the disk's, the signal's reason.
 */
export async function transferFile(
  access: HubAccess,
  transfer: Transfer,
  signal: AbortSignal,
): Promise<void> {
  const { partial } = transfer;
  const { rangeBytes, rangesAtOnce } = access.tuning;
  const pieces = cutRanges(partial.missing(), rangeBytes);
  try {
    await inParallel(pieces, rangesAtOnce, signal, (piece, inner) =>
      fillPiece(access, transfer, piece, inner),
    );
  } catch (error) {
    if (!(error instanceof RangesIgnored)) throw error;
    await fillWhole(access, transfer, signal);
  } finally {
    await partial.save();
  }
}
