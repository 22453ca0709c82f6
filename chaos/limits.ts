/** Limits of a chaos run, each with its reason. */
export const chaosLimits = {
  /** From the start of the node to a model that answers: several ranks on a loaded machine. */
  readyMs: 120_000,
  /** Longest time that an answer may take: it may live through several faults. */
  answerMs: 180_000,
  /** Between two looks at the node's state. */
  pollMs: 50,
  /** Pause between the return of the instance and the next fault, at least and at most. */
  pauseMinMs: 300,
  pauseMaxMs: 2_500,
  /** Longest wait for every answer under way to go on after a fault. */
  movedMs: 30_000,
  /**
   * One fault in so many comes without that wait. Not more: a request over which ranks die again
   * and again without a token is given up, and rightly so.
   */
  hastyEvery: 4,
  /** A node that was told to leave and has not is ended. */
  leaveMs: 15_000,
  /** What the node said last, kept for the reason why it failed. */
  lastWordsMaxCharacters: 4_000,
} as const;
