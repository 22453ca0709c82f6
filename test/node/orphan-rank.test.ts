import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { eventually, isAlive } from '../support/real-node.ts';
import { greedyOptions } from '../support/requests.ts';
import { starterHome, starterModel } from '../support/starter-model.ts';

/** A daemon that is killed outright takes its ranks with it, whatever they are doing. */

const openNode = pathToFileURL(join(import.meta.dirname, '../../dist/node/open-node.js')).href;
const never = 'new AbortController().signal';
const model = JSON.stringify(starterModel);

/** What the daemon's ranks are busy with when it prints their process ids. */
const works: readonly (readonly [string, string, number])[] = [
  ['idle', `await node.ready(${model}, ${never}); tell();`, 1],
  ['loading', `void node.ready(${model}, ${never}); setTimeout(tell, 600);`, 1],
  [
    'in the middle of long steps',
    `const ids = Array.from({ length: 6000 }, (_, i) => i % 1000 + 100);
     await node.ready(${model}, ${never});
     for (let i = 0; i < 4; i++) {
       void node.generate({ model: ${model}, input: { kind: 'ids', ids: [i + 5, ...ids] },
         options: ${JSON.stringify(greedyOptions)} }, ${never});
     }
     setTimeout(tell, 1500);`,
    1,
  ],
  [
    'one of three in the middle of long steps',
    `const ids = Array.from({ length: 6000 }, (_, i) => i % 1000 + 100);
     await node.ready(${model}, ${never});
     void node.generate({ model: ${model}, input: { kind: 'ids', ids },
       options: ${JSON.stringify(greedyOptions)} }, ${never});
     setTimeout(tell, 1500);`,
    3,
  ],
  [
    'in JavaScript that does not end soon',
    `await node.ready(${model}, ${never});
     const { text } = await node.manifest(${model});
     const ids = Array.from({ length: 5_000_000 }, (_, i) => i % 40_000);
     void node.text({ op: 'detokenize', tokenizer: text.tokenizerPath, ids, skipSpecial: false });
     setTimeout(tell, 4000);`,
    1,
  ],
];

function daemon(starter: string, work: string, ranks: number): ChildProcess {
  const settings = {
    home: starter,
    executor: null,
    precise: false,
    contextLength: null,
    cacheBytes: 2 ** 29,
    threads: 0,
    ranks,
    split: 'auto',
  };
  const script = `
    import { execFileSync } from 'node:child_process';
    const { openNode } = await import(${JSON.stringify(openNode)});
    const node = await openNode({ ...${JSON.stringify(settings)}, environment: process.env });
    const tell = () => {
      const listed = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' });
      const own = listed.split('\\n').map((line) => line.trim().split(/\\s+/));
      const ranks = own.filter(([, parent, ...args]) =>
        parent === String(process.pid) && args.join(' ').includes('engine/main.js'));
      console.log(JSON.stringify(ranks.map(([pid]) => Number(pid))));
    };
    setInterval(() => {}, 1000);
    ${work}`;
  return spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

test.each(works)('a rank that is %s', async (_, work, ranks) => {
  const child = daemon(await starterHome(), work, ranks);
  try {
    const lines = createInterface({ input: child.stdout ?? process.stdin });
    const told = await new Promise<string>((resolve) => lines.once('line', resolve));
    const pids: number[] = JSON.parse(told);
    expect(pids.length).toBeGreaterThanOrEqual(ranks);
    expect(pids.filter(isAlive)).toEqual(pids);
    child.kill('SIGKILL');
    await eventually('the ranks have left', () => !pids.some(isAlive), 5_000);
  } finally {
    child.kill('SIGKILL');
  }
});
