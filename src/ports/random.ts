/** A number in [0, 1); comes in as a parameter so that tests can fix it. */
export type Random = () => number;
