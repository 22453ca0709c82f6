import type { ModelId } from '../base/ids.ts';
import type { ModelManifest } from '../model/manifest.ts';

/** A model as it lies on this machine's disk. */
export interface ModelOnDisk {
  readonly id: ModelId;
  readonly kind: 'safetensors' | 'gguf';
  /** The folder or the .gguf file. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly state: 'ready' | 'partial';
  readonly modifiedMs: number;
}

export interface PullProgress {
  readonly doneBytes: number;
  /** 0 while it is not known. */
  readonly totalBytes: number;
  readonly bytesPerS: number;
}

/** What a deletion did. */
export interface Removal {
  readonly freedBytes: number;
  /** True when the files are their user's own: they stay, and only the list has changed. */
  readonly keptFiles: boolean;
}

/** The models that this machine has or can get. */
export interface ModelLibrary {
  list(): Promise<ModelOnDisk[]>;
  /**
   * The model that a name stands for: a catalogue name, `org/name`, or an id from `list`. Never a
   * path: names come from requests. Throws `model_not_found` when it is not on disk,
   * `model_incomplete` when only a part of it is.
   */
  resolve(name: string): Promise<ModelOnDisk>;
  /**
   * As `resolve`, and for whoever sits at this machine a folder or .gguf file too (relative to the
   * working folder): its id is known to `resolve` from then on, in every process with the same
   * home.
   */
  admit(reference: string): Promise<ModelOnDisk>;
  manifest(model: ModelOnDisk): Promise<ModelManifest>;
  /** Fetches what is missing. Returns at once when all is there. */
  pull(
    name: string,
    onProgress: (progress: PullProgress) => void,
    signal: AbortSignal,
  ): Promise<ModelOnDisk>;
  /**
   * Deletes what cidery or a hub client put there; a folder or file of the user's own is refused.
   */
  remove(id: string): Promise<Removal>;
}
