import { copyOf, element, keyedList, part, setText } from './dom.js';
import { bytes, duration } from './format.js';

/** @import { ClusterState } from '../src/node/cluster-state.ts' */

/** Every node with its machine and its memory. */
export const showNodes = keyedList(
  element('nodes'),
  /** @param {ClusterState['nodes'][number]} node */ ({ id }) => id,
  () => {
    const root = copyOf('node-template');
    const memory = part(root, 'memory', HTMLProgressElement);
    return {
      root,
      update({ name, version, platform, cores, uptimeMs, memory: { totalBytes, freeBytes } }) {
        setText(part(root, 'name'), name);
        const facts = [`cidery ${version}`, platform, `${cores} cores`];
        setText(part(root, 'facts'), [...facts, `up for ${duration(uptimeMs)}`].join(' · '));
        memory.max = totalBytes;
        memory.value = totalBytes - freeBytes;
        memory.setAttribute('aria-label', `memory of ${name} in use`);
        const text = `${bytes(freeBytes)} of ${bytes(totalBytes)} memory free`;
        setText(part(root, 'memory-text'), text);
      },
    };
  },
);
