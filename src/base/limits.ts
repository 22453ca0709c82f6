/**
 * Every limit of the program in one place, each with its reason. Units stand last in the names.
 */
export const limits = {
  // text
  /** A template that has not ended by then is looping; honest ones take a few milliseconds. */
  templateTimeoutMs: 1_000,
  /** Longest text that a template may produce: four times the longest prompt anyone can run. */
  templateOutputMaxCharacters: 16 * 1024 * 1024,
} as const;
