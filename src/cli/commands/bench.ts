import type { ModelId } from '../../base/ids.ts';
import { buildModel } from '../../model/model.ts';
import type { CideryNode } from '../../node/node.ts';
import { openNode } from '../../node/open-node.ts';
import { catalogue } from '../../store/catalogue.ts';
import { type CommandContext, type EngineFlags, nodeSettings } from '../context.ts';
import { localAnswerer, plainSampling } from '../local-answerer.ts';
import { requireModel } from '../local-models.ts';

/** Long enough that a step's fixed cost does not count, short enough to end within a minute. */
const promptTokens = 128;
const generatedTokens = 32;
const batchSizes = [1, 4] as const;

interface Measurement {
  readonly sequences: number;
  readonly promptTokensPerS: number;
  readonly generatedTokensPerS: number;
}

/** `cidery bench [M]`: speeds of an engine of its own on this machine, whatever else runs here. */
export async function bench(
  context: CommandContext,
  reference: string | null,
  flags: EngineFlags,
): Promise<void> {
  const node = await openNode(nodeSettings(context, flags));
  try {
    const name = reference ?? catalogue[0]?.name ?? '';
    const { id } = await requireModel(context, node.library, name, 'all');
    const answerer = await localAnswerer(context, node, id);
    const { vocabulary } = buildModel(await node.manifest(id)).program;
    const measurements: Measurement[] = [];
    for (const sequences of batchSizes) {
      measurements.push(await measure(context, node, id, sequences, vocabulary));
    }
    const { precise, executor } = answerer.instance.settings;
    const peakBytes = await answerer.peakBytes();
    const mode = precise ? 'precise' : 'fast';
    context.output.value({ model: id, executor, mode, promptTokens, measurements, peakBytes });
    context.output.line(`${id}, ${mode} mode, executor ${executor}, prompts of ${promptTokens}`);
    for (const { sequences, promptTokensPerS, generatedTokensPerS } of measurements) {
      const speeds = [promptTokensPerS, generatedTokensPerS].map((speed) => speed.toFixed(1));
      context.output.line(
        `  ${`${sequences}`.padStart(2)} at once: prompt ${speeds[0]} tok/s, ` +
          `generation ${speeds[1]} tok/s`,
      );
    }
  } finally {
    await node.close();
  }
}

async function measure(
  context: CommandContext,
  node: CideryNode,
  model: ModelId,
  sequences: number,
  vocabulary: number,
): Promise<Measurement> {
  const startedAt = performance.now();
  const rows = await Promise.all(
    Array.from({ length: sequences }, async (_, row) => {
      const ids = promptIds(sequences * 1_000 + row, vocabulary);
      const { events } = await node.generate(
        {
          model,
          input: { kind: 'ids', ids },
          options: {
            maxTokens: generatedTokens,
            ignoreEos: true,
            stop: [],
            choices: 1,
            logprobs: null,
            skipSpecial: true,
            sampling: plainSampling,
          },
        },
        context.signal,
      );
      let firstAt = startedAt;
      for await (const event of events) {
        if (event.type === 'delta' && firstAt === startedAt) firstAt = performance.now();
      }
      return firstAt;
    }),
  );
  const endedAt = performance.now();
  const promptEndedAt = Math.max(...rows);
  return {
    sequences,
    promptTokensPerS: perSecond(sequences * promptTokens, promptEndedAt - startedAt),
    generatedTokensPerS: perSecond(sequences * (generatedTokens - 1), endedAt - promptEndedAt),
  };
}

/** No two prompts share a beginning, so that none is spared by another's prefix. */
function promptIds(seed: number, vocabulary: number): number[] {
  let state = seed;
  return Array.from({ length: promptTokens }, () => {
    // Numerical Recipes' linear congruential generator; any spread over the vocabulary will do.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % vocabulary;
  });
}

function perSecond(count: number, ms: number): number {
  return ms > 0 ? (count / ms) * 1_000 : 0;
}
