import { z } from 'zod';
import { splitKinds } from '../model/split/plan.ts';

/** What `GET /cluster/v1/state` shows: facts of this moment, nothing from a log. Sizes in bytes. */

/** What a rank takes. */
const rankMemorySchema = z.strictObject({
  weightBytes: z.number(),
  /** Keys and values of one sequence as long as the context; `cpu` takes them as they are used. */
  cacheBytes: z.number(),
  /** What steps work in. */
  workingBytes: z.number(),
});
export type RankMemory = Readonly<z.infer<typeof rankMemorySchema>>;

const planSchema = z.strictObject({
  kind: z.enum(['single', ...splitKinds]),
  ranks: z.int().positive(),
  executor: z.enum(['cpu', 'mlx']),
  mode: z.enum(['fast', 'precise']),
  predicted: z.strictObject({
    /** Of all ranks, in which each has its parts. */
    memoryBytes: z.number(),
    ranks: z.array(rankMemorySchema),
  }),
});

const rankStateSchema = z.strictObject({
  rank: z.int().nonnegative(),
  node: z.string(),
  pid: z.int().nullable(),
  state: z.enum(['starting', 'ready', 'lost']),
  /** Weights, keys and values in use, and what steps work in. */
  memoryBytes: z.number(),
});

const instanceStateSchema = z.strictObject({
  id: z.string(),
  deployment: z.string(),
  model: z.string(),
  state: z.enum(['starting', 'ready', 'failed', 'stopped']),
  /** Why it failed, and what there is to do. */
  error: z
    .strictObject({ code: z.string(), message: z.string(), hint: z.string().optional() })
    .nullable(),
  /** While starting: how much of the weights is read. */
  progress: z.strictObject({ doneBytes: z.number(), totalBytes: z.number() }).nullable(),
  contextLength: z.int().nullable(),
  plan: planSchema,
  measured: z.strictObject({
    loadMs: z.number().nullable(),
    running: z.int(),
    waiting: z.int(),
    promptTokens: z.int(),
    generatedTokens: z.int(),
    /** Over the last seconds. */
    tokensPerS: z.number(),
  }),
  ranks: z.array(rankStateSchema),
});
export type InstanceView = z.infer<typeof instanceStateSchema>;

export const deploymentSchema = z.strictObject({
  id: z.string(),
  model: z.string(),
  context: z.int().nullable(),
  replicas: z.int(),
  split: z.enum(['auto', ...splitKinds]),
  ranks: z.int(),
  mode: z.enum(['fast', 'precise']),
  /** True when a request's model name made it, and memory pressure may end it. */
  automatic: z.boolean(),
});
export type DeploymentView = z.infer<typeof deploymentSchema>;

export const clusterStateSchema = z.strictObject({
  nodes: z.array(
    z.strictObject({
      id: z.string(),
      name: z.string(),
      address: z.string(),
      state: z.enum(['up']),
      version: z.string(),
      platform: z.string(),
      cores: z.int(),
      memory: z.strictObject({ totalBytes: z.number(), freeBytes: z.number() }),
      uptimeMs: z.number(),
    }),
  ),
  links: z.array(
    z.strictObject({
      from: z.string(),
      to: z.string(),
      kind: z.string(),
      latencyUs: z.number(),
      bandwidthBytesPerS: z.number(),
    }),
  ),
  deployments: z.array(deploymentSchema),
  instances: z.array(instanceStateSchema),
});
export type ClusterState = z.infer<typeof clusterStateSchema>;

/** A model, and how it is to run. */
const wantedFields = {
  model: z.string().min(1),
  context: z.int().positive().optional(),
  split: z.enum(['auto', ...splitKinds]).optional(),
  ranks: z.int().positive().optional(),
  mode: z.enum(['fast', 'precise']).optional(),
} as const;

/** What `POST /cluster/v1/deployments` takes. */
export const newDeploymentSchema = z.strictObject({
  ...wantedFields,
  replicas: z.int().positive().optional(),
});
export type NewDeployment = z.infer<typeof newDeploymentSchema>;

/** What `POST /cluster/v1/plans` takes. */
export const newPlanSchema = z.strictObject(wantedFields);
export type NewPlan = z.infer<typeof newPlanSchema>;

/** What `cidery plan --json` and `POST /cluster/v1/plans` say. */
export const modelPlansSchema = z.strictObject({
  model: z.string(),
  context: z.int(),
  mode: z.enum(['fast', 'precise']),
  plans: z.array(
    z.strictObject({
      kind: planSchema.shape.kind,
      ranks: planSchema.shape.ranks,
      /** Whether it would be run so. */
      chosen: z.boolean(),
      reason: z.string(),
      /** Of all ranks together. */
      memory: z.strictObject({
        ...rankMemorySchema.shape,
        neededBytes: z.number(),
        freeBytes: z.number(),
      }),
      /** Speed; null: not measured. */
      predicted: z.null(),
    }),
  ),
});
export type ModelPlans = z.infer<typeof modelPlansSchema>;
