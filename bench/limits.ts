/** Limits of the bench, each with its reason. */
export const benchLimits = {
  /** A peer's packages: 400 MB over a slow line. */
  installMs: 900_000,
  /** Loading a model and the libraries that run it. */
  startMs: 120_000,
  /** A process that was told to leave and has not is ended. */
  leaveMs: 5_000,
  /** Longest line of an engine's: 64 rows of tokens and times. */
  lineMaxBytes: 16 * 1024 * 1024,
  /** What an engine said last on standard error, kept for the reason why it failed. */
  lastWordsMaxCharacters: 2_000,
  /** Output of an installer or a compiler that is kept for the reason. */
  commandOutputMaxBytes: 4_000,
  /** Characters of text that are tokenized for prompts: some 250,000 tokens. */
  textMaxCharacters: 1_000_000,
  /** Compiling the roof's program. */
  compileMs: 120_000,
  /** Between two looks at the memory of processes: a look reads all of /proc, some 10 ms. */
  memoryIntervalMs: 250,
} as const;
