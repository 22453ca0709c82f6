#!/usr/bin/env node
// `npm run bench -- NAME`.
import { runTool } from '../scripts/run-tool.mjs';

await runTool('bench');
