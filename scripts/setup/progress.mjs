const barWidth = 24;

/**
 * What the set-up says while it works, on standard error: plain lines, with a bar under the last
 * one where a person watches. A set-up that has nothing to do says nothing.
 *
 * @typedef {object} Progress
 * @property {(text: string) => void} line says one line
 * @property {(done: number, total: number, text: string) => void} bar only on a terminal
 * @property {() => void} clear takes the bar away
 */

/**
 * @param {{ write(text: string): unknown, isTTY?: boolean }} stream
 * @returns {Progress}
 */
export function createProgress(stream) {
  let shown = false;
  const clear = () => {
    if (shown) stream.write('\r\x1b[K');
    shown = false;
  };
  return {
    line(text) {
      clear();
      stream.write(`set-up: ${text}\n`);
    },
    bar(done, total, text) {
      if (stream.isTTY !== true) return;
      const share = total > 0 ? Math.min(1, done / total) : 0;
      const filled = Math.round(share * barWidth);
      const bar = '#'.repeat(filled) + '-'.repeat(barWidth - filled);
      stream.write(`\r\x1b[K[${bar}] ${String(Math.round(share * 100)).padStart(3)} % ${text}`);
      shown = true;
    },
    clear,
  };
}

/**
 * Says a line, does the work, says how long it took.
 * @template T
 * @param {Progress} progress
 * @param {string} text
 * @param {() => Promise<T>} work
 */
export async function during(progress, text, work) {
  progress.line(text);
  const start = performance.now();
  try {
    const result = await work();
    const seconds = (performance.now() - start) / 1000;
    if (seconds >= 1) progress.line(`  done in ${seconds.toFixed(1)} s`);
    return result;
  } finally {
    progress.clear();
  }
}
