import { startChild } from './child.ts';

/**
 * A neighbour: a process that takes all of a core that it can get until it is stopped, or until
 * `limitMs` have passed should this process be gone by then.
 * @returns the function that stops it
 */
export function startBusyCore(limitMs: number): () => void {
  const script = `const end = Date.now() + ${limitMs}; while (Date.now() < end) {}`;
  const child = startChild({ program: process.execPath, args: ['-e', script] });
  return () => child.kill('SIGKILL');
}
