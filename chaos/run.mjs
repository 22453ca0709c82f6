#!/usr/bin/env node
// `npm run chaos -- …`: runs in a network namespace of its own where that can be had (Linux, as
// root): there packets can be dropped without anybody else noticing.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root, runTool } from '../scripts/run-tool.mjs';

const isolated = spawnSync('unshare', ['-n', 'ip', 'link', 'set', 'lo', 'up']).status === 0;
const inside = ['unshare', '-n', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];
await runTool(
  'chaos',
  [[join(root, 'bin/cidery'), 'pull', 'smollm2:135m']],
  isolated
    ? { wrap: inside, environment: { CIDERY_CHAOS_ISOLATED: '1' } }
    : { wrap: [], environment: {} },
);
