import type { TensorFormat } from '../model/manifest.ts';

/** What an engine is opened with. */
export interface EngineOptions {
  /** `encodeProgram`'s bytes. */
  readonly program: Uint8Array;
  readonly executor: 'cpu' | 'mlx';
  /** mlx: use the GPU. */
  readonly gpu: boolean;
  /** f32 activations and caches. */
  readonly precise: boolean;
  /** Sequences that may hold positions at once. */
  readonly slots: number;
  /** Most positions a slot may hold. */
  readonly positions: number;
  /** cpu: most positions of all slots together; 0 means `slots * positions`. */
  readonly cachePositions: number;
  /** cpu: 0 means one a core. */
  readonly threads: number;
  /** Absolute paths; pieces name them by index. */
  readonly files: readonly string[];
}

/** Rows of bytes: row r is [offset + r * rowStride, + rowBytes) of a file. */
export interface TensorPiece {
  readonly file: number;
  readonly offset: number;
  readonly rowBytes: number;
  readonly rowStride: number;
  readonly rowCount: number;
}

/** One tensor of a parameter's storage; see native/load/tensor_source.h. */
export interface TensorPart {
  readonly role: 'weight' | 'scales' | 'biases';
  readonly format: TensorFormat;
  /** As the tensor is stored. */
  readonly shape: readonly number[];
  /** 0: rows are in their order. */
  readonly unpermuteHeads: number;
  /** 0: values stay as they are. */
  readonly add: number;
  readonly pieces: readonly TensorPiece[];
}

export interface ParameterSource {
  /** Index into the program's parameters. */
  readonly parameter: number;
  readonly parts: readonly TensorPart[];
}

export interface EngineMemory {
  readonly weightBytes: number;
  readonly cacheBytes: number;
  readonly activeBytes: number;
  readonly peakBytes: number;
  readonly liveArrays: number;
}

export type EngineHandle = number & { readonly __kind: 'engine' };

/**
 * The face of both addons. Everything that computes runs on the engine's own step thread, in the
 * order of the calls; promises reject with an Error that carries a `code`. A handle that was closed
 * is refused (`engine_closed`).
 */
export interface Addon {
  /** Facts of this build, such as `{"addon":"mlx","mlx":"0.32.4","gpu":"false","abi":"1"}`. */
  info(): Record<string, string>;
  /**
   * Checks the program and starts the step thread. Throws `program_invalid`, `device_unavailable`.
   */
  openEngine(options: EngineOptions): EngineHandle;
  /** Reads parameters from disk, in order. */
  loadParameters(engine: EngineHandle, sources: readonly ParameterSource[]): Promise<void>;
  /** Rejects with `parameter_missing` when something was not loaded. */
  bind(engine: EngineHandle): Promise<void>;
  /** One step; resolves with the encoded result (src/engine/step-plan.ts). */
  step(engine: EngineHandle, plan: Uint8Array): Promise<Uint8Array>;
  memory(engine: EngineHandle): EngineMemory;
  /** Frees all of it; pending calls reject first. */
  closeEngine(engine: EngineHandle): Promise<void>;
  /**
   * Starts a native thread that polls the inherited descriptor and leaves the process
   * (`_exit(code)`) within 10 ms of the other end's closing, whatever JavaScript is doing.
   */
  watchLifeline(descriptor: number, exitCode: number): void;
}
