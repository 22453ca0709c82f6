export interface ProcessExit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** A rank's process as the daemon holds it: a control socket both ways, its log lines, its end. */
export interface RankProcess {
  readonly pid: number;
  /** Queues bytes on the control socket; after the process has ended they are dropped. */
  send(bytes: Uint8Array): void;
  /** Bytes that the rank has not taken yet. */
  readonly unsentBytes: number;
  onBytes(listener: (bytes: Uint8Array) => void): void;
  /** Lines that the process wrote to standard output and error. */
  onLog(listener: (line: string) => void): void;
  /**
   * Signs of life that the process gives whatever its JavaScript does; none come while it is
   * stopped.
   */
  onSign(listener: () => void): void;
  readonly exited: Promise<ProcessExit>;
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
}

/** Starts ranks; each holds a lifeline to this process and leaves when it is gone. */
export interface RankSpawner {
  spawn(): RankProcess;
}
