import { CideryError, invariant } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import { chosenExecutor, openNode } from '../../node/open-node.ts';
import { memoryOfRank, predictedMemory } from '../../node/predicted-memory.ts';
import { planRanks } from '../../node/rank-plan.ts';
import { type CommandContext, type EngineFlags, nodeSettings } from '../context.ts';
import { requireModel } from '../local-models.ts';
import { formatBytes } from '../output.ts';

/** Context that is planned for unless another is asked for. */
const defaultContext = 4_096;

/** `cidery plan M`: the one plan of one machine, from config and headers alone. */
export async function plan(
  context: CommandContext,
  reference: string,
  flags: EngineFlags & { readonly machines?: string },
): Promise<void> {
  if (flags.machines !== undefined) {
    throw new CideryError('unsupported', 'this version plans for this machine alone', {
      hint: 'leave out --machines',
    });
  }
  const node = await openNode(nodeSettings(context, flags));
  try {
    const { id } = await requireModel(context, node.library, reference, 'catalogue');
    const precise = flags.precise ?? false;
    const executor = chosenExecutor(nodeSettings(context, flags));
    const mode = { executor, precise };
    const single = planRanks(await node.manifest(id), { ranks: 1, split: 'auto' }, mode);
    const positions = Math.min(flags.context ?? defaultContext, single.contextLength);
    const [memory] = predictedMemory(single, {
      ...mode,
      contextLength: positions,
      // Whatever it takes: whether that is there is what this command says.
      cacheBytes: positions * single.wholeCacheBytesPerPosition,
      slots: limits.slotsPerInstance[executor],
    });
    invariant(memory !== undefined, 'a plan of one rank has its memory');
    const neededBytes = memoryOfRank(memory);
    const freeBytes = node.state().nodes[0]?.memory.freeBytes ?? 0;
    const fits = neededBytes <= freeBytes;
    context.output.value({
      model: id,
      context: positions,
      mode: precise ? 'precise' : 'fast',
      plans: [
        {
          kind: 'single',
          ranks: 1,
          chosen: fits,
          reason: fits ? 'the only machine' : 'it does not fit the free memory',
          memory: { ...memory, neededBytes, freeBytes },
          predicted: null,
        },
      ],
    });
    context.output.line(`${id}, context ${positions}, on this machine alone:`);
    context.output.line(`  weights     ${formatBytes(memory.weightBytes)}`);
    context.output.line(`  keys/values ${formatBytes(memory.cacheBytes)}`);
    context.output.line(`  working     ${formatBytes(memory.workingBytes)}`);
    const verdict = fits ? 'fits' : 'does not fit';
    context.output.line(
      `  ${formatBytes(neededBytes)} of ${formatBytes(freeBytes)} free: ${verdict}`,
    );
    context.output.line('  speed: not measured (`cidery bench` measures it)');
  } finally {
    await node.close();
  }
}
