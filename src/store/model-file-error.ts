import { CideryError } from '../base/error.ts';

/**
 * A model file that contradicts itself or its format; `reason` goes on after "<file> is broken:
 * ".
 */
export function brokenFile(fileName: string, reason: string, cause?: unknown): CideryError {
  return new CideryError('model_file_broken', `${fileName} is broken: ${reason}`, {
    hint: 'delete the file and fetch it again; if it stays like this, the published file is wrong',
    cause,
  });
}

/** A sound file of a kind that cidery cannot run. */
export function unsupportedModel(message: string, hint?: string): CideryError {
  return new CideryError('model_unsupported', message, hint === undefined ? {} : { hint });
}

/** Something that a model needs is not there. */
export function incompleteModel(message: string, hint: string): CideryError {
  return new CideryError('model_incomplete', message, { hint });
}

/** The last part of a path, for messages. */
export function fileNameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
