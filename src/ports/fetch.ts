/**
 * HTTP as the store needs it: the standard fetch. Platform's has connection limits and no proxy
 * surprises.
 */
export type Fetch = (url: string, init?: RequestInit) => Promise<Response>;
