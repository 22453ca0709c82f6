#!/usr/bin/env node
// `npm run chaos -- …`.
import { join } from 'node:path';
import { root, runTool } from '../scripts/run-tool.mjs';

await runTool('chaos', [[join(root, 'bin/cidery'), 'pull', 'smollm2:135m']]);
