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

/** The models that this machine has or can get. */
export interface ModelLibrary {
  list(): Promise<ModelOnDisk[]>;
  /**
   * The model that a name stands for: a catalogue name, `org/name`, an id from `list`, a folder, or a .gguf file.
   * Throws `model_not_found` when it is not on disk, `model_incomplete` when only a part of it is.
   */
  resolve(reference: string): Promise<ModelOnDisk>;
  manifest(model: ModelOnDisk): Promise<ModelManifest>;
  /** Fetches what is missing. Returns at once when all is there. */
  pull(
    reference: string,
    onProgress: (progress: PullProgress) => void,
    signal: AbortSignal,
  ): Promise<ModelOnDisk>;
  /** Deletes what cidery or a hub client put there; a folder or file of the user's own is refused. */
  remove(reference: string): Promise<ModelOnDisk>;
}
