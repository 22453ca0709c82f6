/** A number in [0, 1); comes in as a parameter so that tests can fix it. */
export type Random = () => number;

/** Bytes that nobody can guess: what keys are made of. */
export type RandomBytes = (count: number) => Uint8Array;
