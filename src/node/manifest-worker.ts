import { answerInThread } from '../platform/own-thread.ts';
import { realDisk } from '../platform/real-disk.ts';
import { readManifest } from '../store/read-manifest.ts';
import { manifestRequestSchema } from './manifest-thread.ts';

/** The thread in which the manifest of one model is read. */
await answerInThread((input) => {
  const { model, cacheFolder } = manifestRequestSchema.parse(input);
  return readManifest(realDisk, model, cacheFolder);
});
