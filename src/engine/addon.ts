import type { TensorFormat } from '../model/manifest.ts';
import type { Address, GroupBackend } from './protocol.ts';

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
export type ListenerHandle = number & { readonly __kind: 'listener' };

/** The ranks that share a model, in one attempt to run it. */
export interface GroupOptions {
  /** The program's, as is the number of addresses. */
  readonly rank: number;
  /** Of every rank, in rank order. */
  readonly addresses: readonly Address[];
  readonly backend: GroupBackend;
  /** 32 bytes that nobody else knows. */
  readonly key: Uint8Array;
  /** Until every rank has connected to every other. */
  readonly connectMs: number;
  /** A rank of which nothing was heard for so long is lost. */
  readonly silenceMs: number;
  /** Longest wait for a rank that is alive and sends no data. */
  readonly waitMs: number;
}

/**
 * The face of all addons. Everything that computes runs on the engine's own step thread, in the
 * order of the calls; promises reject with an Error that carries a `code`. A handle that was closed
 * is refused (`engine_closed`).
 */
export interface Addon {
  /** Facts of this build, such as `{"addon":"mlx","mlx":"0.32.4","gpu":"false","abi":"2"}`. */
  info(): Record<string, string>;
  /**
   * Checks the program and starts the step thread. Throws `program_invalid`, `device_unavailable`.
   */
  openEngine(options: EngineOptions): EngineHandle;
  /** Reads parameters from disk, in order. */
  loadParameters(engine: EngineHandle, sources: readonly ParameterSource[]): Promise<void>;
  /** A port of this rank for the others. Throws `group_listen_failed`. */
  listenGroup(host: string): { readonly handle: ListenerHandle; readonly port: number };
  /** Of a listener with which no group was joined. */
  closeListener(listener: ListenerHandle): void;
  /**
   * Meets the other ranks of the program, each of which has listened; before `bind`. The listener
   * is used up. Rejects with `group_connect_failed`, `group_refused` (another key),
   * `group_unavailable` (a backend that this build or these addresses have not).
   */
  joinGroup(engine: EngineHandle, listener: ListenerHandle, group: GroupOptions): Promise<void>;
  /**
   * All ranks of a group bind at the same time. Rejects with `parameter_missing` when something was
   * not loaded, `rank_disagrees` when the ranks were opened with other settings.
   */
  bind(engine: EngineHandle): Promise<void>;
  /**
   * One step; resolves with the encoded result (src/engine/step-plan.ts). Rank 0 of a pipeline runs
   * as many at once as it has ranks. Rejects with `group_peer_lost`, `group_silent`,
   * `group_timeout`, `group_corrupt`, `group_mismatch`, `group_failed`, `rank_disagrees` where the
   * group has failed, and `engine_broken` ever after.
   */
  step(engine: EngineHandle, plan: Uint8Array): Promise<Uint8Array>;
  /**
   * Drops the step that was asked for last, if it has not begun: its promise rejects with
   * `step_taken_back`. False when it has, or when something else was asked for since.
   */
  takeBackStep(engine: EngineHandle): boolean;
  /**
   * Ranks above 0: makes the steps of rank 0 until that leaves in order. Rejects with the codes of
   * `step`, and with `engine_closed` when it is closed meanwhile.
   */
  follow(engine: EngineHandle): Promise<void>;
  /** Steps that this engine has made. */
  stepsDone(engine: EngineHandle): number;
  memory(engine: EngineHandle): EngineMemory;
  /**
   * Frees all of it; calls that wait reject first, those that run end first. The other ranks of a
   * group that rank 0 closes end without an error.
   */
  closeEngine(engine: EngineHandle): Promise<void>;
  /**
   * Starts a native thread that polls the inherited descriptor and leaves the process
   * (`_exit(code)`) within 10 ms of the other end's closing, whatever JavaScript is doing.
   */
  watchLifeline(descriptor: number, exitCode: number): void;
}
