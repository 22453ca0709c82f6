import { pullFromHub } from '../../src/store/hub/pull.ts';
import { requireRepository } from '../../src/store/hub/repository.ts';
import { readHubSettings } from '../../src/store/hub/settings.ts';
import { patientTuning, realPorts } from './hub-world.ts';

// A pull in a process of its own, so that a test can kill it: `node pull-child.js HOME REFERENCE`.
const [, , home = '', reference = ''] = process.argv;
await pullFromHub(realPorts, readHubSettings(process.env, home), requireRepository(reference), {
  signal: new AbortController().signal,
  onEvent: (event) => process.stdout.write(`${JSON.stringify(event)}\n`),
  tuning: patientTuning,
});
