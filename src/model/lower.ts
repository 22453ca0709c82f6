import { invariant } from '../base/error.ts';
import { activationKinds, headNormKinds, normKinds } from './operations.ts';
import { attentionWidths, layerPath } from './parameters.ts';
import type {
  Columns,
  Operation,
  Program,
  ProgramBuffer,
  ProgramCache,
  ProgramParameter,
  ProgramRope,
} from './program.ts';
import type { AttentionSpec, FeedForwardSpec, LayerSpec, ModelSpec, NormSpec } from './spec.ts';

/**
 * Turns a spec into the operations of one step, over a handful of buffers that all layers share.
 */
export function lowerModel(spec: ModelSpec, parameters: readonly ProgramParameter[]): Program {
  return new Lowering(spec, parameters).program();
}

class Lowering {
  readonly #spec: ModelSpec;
  readonly #parameters: readonly ProgramParameter[];
  readonly #indices: ReadonlyMap<string, number>;
  readonly #buffers: ProgramBuffer[] = [];
  readonly #ropes: ProgramRope[] = [];
  readonly #caches: ProgramCache[] = [];
  readonly #operations: Operation[] = [];
  /** The residual stream. */
  readonly #hidden: Columns;
  /** What a norm puts out. */
  readonly #normed: Columns;
  /** What a mixer or a feed-forward puts out. */
  readonly #update: Columns;
  /** q, k and v side by side. */
  readonly #projected: Columns;
  readonly #mixed: Columns;
  /** gate and up side by side. */
  readonly #inner: Columns;
  readonly #activated: Columns;

  constructor(spec: ModelSpec, parameters: readonly ProgramParameter[]) {
    this.#spec = spec;
    this.#parameters = parameters;
    this.#indices = new Map(parameters.map(({ path }, index) => [path, index]));
    const widest = (widthOf: (layer: LayerSpec) => number) => Math.max(...spec.layers.map(widthOf));
    this.#hidden = this.#buffer('hidden', spec.width);
    this.#normed = this.#buffer('normed', spec.width);
    this.#update = this.#buffer('update', spec.width);
    this.#projected = this.#buffer(
      'projected',
      widest(({ mixer }) => queryWidth(mixer) + 2 * attentionWidths(mixer).key),
    );
    this.#mixed = this.#buffer(
      'mixed',
      widest(({ mixer }) => queryWidth(mixer)),
    );
    this.#inner = this.#buffer(
      'inner',
      widest((layer) => 2 * layer.feedForward.inner),
    );
    this.#activated = this.#buffer(
      'activated',
      widest((layer) => layer.feedForward.inner),
    );
  }

  program(): Program {
    const { prefix, vocabulary, contextLength, embedScale, layers } = this.#spec;
    const table = this.#parameter(`${prefix}model.embed_tokens.weight`);
    this.#emit({
      kind: 'embed',
      fields: { out: this.#hidden, table, scale: embedScale, first: 0 },
    });
    for (const [index, layer] of layers.entries()) this.#layer(layer, layerPath(this.#spec, index));
    this.#output(table);
    return {
      vocabulary,
      contextLength,
      rank: 0,
      ranks: 1,
      buffers: this.#buffers,
      parameters: this.#parameters,
      ropes: this.#ropes,
      caches: this.#caches,
      layouts: [],
      operations: this.#operations,
    };
  }

  #output(table: number): void {
    const { prefix, width, finalNorm, head } = this.#spec;
    const selected = this.#buffer('selected', width, 'selected');
    const output = this.#buffer('output', width, 'selected');
    this.#emit({ kind: 'select', fields: { out: selected, in: this.#hidden } });
    this.#norm(`${prefix}model.norm`, finalNorm, selected, output);
    const weight = head.tied ? table : this.#parameter(`${prefix}lm_head.weight`);
    const { scale, softcap } = head;
    this.#emit({
      kind: 'head',
      fields: { in: output, weight, bias: null, scale, softcap, first: 0 },
    });
  }

  #layer(layer: LayerSpec, path: string): void {
    const { norms, norm, mixer, feedForward, residualScale } = layer;
    const mix = (input: Columns) => this.#attention(mixer, norm, `${path}.self_attn`, input);
    const feed = (input: Columns) => this.#gated(feedForward, `${path}.mlp`, input);
    const normed = (name: string, input: Columns): Columns =>
      this.#norm(`${path}.${name}`, norm, input, this.#normed);
    const add = (update: Columns) => this.#add(update, residualScale);
    switch (norms.arrangement) {
      case 'pre':
        add(mix(normed(norms.beforeMixer, this.#hidden)));
        add(feed(normed(norms.beforeFeedForward, this.#hidden)));
        break;
      case 'sandwich':
        add(normed(norms.afterMixer, mix(normed(norms.beforeMixer, this.#hidden))));
        add(normed(norms.afterFeedForward, feed(normed(norms.beforeFeedForward, this.#hidden))));
        break;
      case 'post':
        add(normed(norms.afterMixer, mix(this.#hidden)));
        add(normed(norms.afterFeedForward, feed(this.#hidden)));
        break;
      case 'parallel': {
        const shared = normed(norms.before, this.#hidden);
        add(mix(shared));
        add(feed(shared));
        break;
      }
    }
  }

  #attention(mixer: AttentionSpec, norm: NormSpec, module: string, input: Columns): Columns {
    const { query, key } = attentionWidths(mixer);
    const q = columns(this.#projected, 0, query);
    const k = columns(this.#projected, query, key);
    const v = columns(this.#projected, query + key, key);
    if (mixer.projections === 'fused') {
      this.#linear(`${module}.qkv_proj`, input, columns(this.#projected, 0, query + 2 * key));
    } else {
      this.#linear(`${module}.q_proj`, input, q);
      this.#linear(`${module}.k_proj`, input, k);
      this.#linear(`${module}.v_proj`, input, v);
    }
    const out = columns(this.#mixed, 0, query);
    const headNorm = mixer.headNorm !== 'none';
    this.#emit({
      kind: 'attention',
      fields: {
        out,
        q,
        k,
        v,
        cache: this.#cache(mixer),
        heads: mixer.heads,
        keyHeads: mixer.keyHeads,
        headWidth: mixer.headWidth,
        valueWidth: mixer.headWidth,
        scale: mixer.scale,
        softcap: mixer.softcap,
        window: mixer.window,
        qNorm: headNorm ? this.#parameter(`${module}.q_norm.weight`) : null,
        kNorm: headNorm ? this.#parameter(`${module}.k_norm.weight`) : null,
        normKind: headNormKinds[mixer.headNorm],
        normEpsilon: headNorm ? norm.epsilon : 0,
        normWeightOffset: headNorm ? norm.weightOffset : 0,
        rope: this.#rope(mixer.rope),
        queryScaleBeta: mixer.queryScale?.beta ?? 0,
        queryScaleOriginal: mixer.queryScale?.original ?? 0,
        sinks: null,
      },
    });
    return this.#linear(`${module}.o_proj`, out, this.#update);
  }

  #gated(spec: FeedForwardSpec, module: string, input: Columns): Columns {
    const gate = columns(this.#inner, 0, spec.inner);
    const up = columns(this.#inner, spec.inner, spec.inner);
    if (spec.projections === 'fused') {
      this.#linear(`${module}.gate_up_proj`, input, columns(this.#inner, 0, 2 * spec.inner));
    } else {
      this.#linear(`${module}.gate_proj`, input, gate);
      this.#linear(`${module}.up_proj`, input, up);
    }
    const out = columns(this.#activated, 0, spec.inner);
    const kind = activationKinds[spec.activation];
    this.#emit({ kind: 'activate', fields: { out, gate, up, kind } });
    return this.#linear(`${module}.down_proj`, out, this.#update);
  }

  #norm(module: string, norm: NormSpec, input: Columns, out: Columns): Columns {
    this.#emit({
      kind: 'norm',
      fields: {
        out,
        in: input,
        weight: this.#parameter(`${module}.weight`),
        bias: norm.bias ? this.#parameter(`${module}.bias`) : null,
        epsilon: norm.epsilon,
        weightOffset: norm.weightOffset,
        kind: normKinds[norm.kind],
      },
    });
    return out;
  }

  #linear(module: string, input: Columns, out: Columns): Columns {
    const weight = this.#parameter(`${module}.weight`);
    const bias = this.#indices.get(`${module}.bias`) ?? null;
    this.#emit({ kind: 'linear', fields: { out, in: input, weight, bias } });
    return out;
  }

  #add(update: Columns, scaleB: number): void {
    const stream = this.#hidden;
    this.#emit({ kind: 'add', fields: { out: stream, a: stream, b: update, scaleB } });
  }

  #cache({ keyHeads, headWidth, window }: AttentionSpec): number {
    return this.#caches.push({ keyHeads, headWidth, valueWidth: headWidth, window }) - 1;
  }

  #rope(rope: ProgramRope | null): number | null {
    if (rope === null) return null;
    const known = this.#ropes.indexOf(rope);
    return known >= 0 ? known : this.#ropes.push(rope) - 1;
  }

  #parameter(path: string): number {
    const index = this.#indices.get(path);
    invariant(index !== undefined, `${path} is used and not declared`);
    return index;
  }

  #buffer(name: string, width: number, domain: ProgramBuffer['domain'] = 'tokens'): Columns {
    return { buffer: this.#buffers.push({ name, width, domain }) - 1, column: 0, width };
  }

  #emit(operation: Operation): void {
    this.#operations.push(operation);
  }
}

function queryWidth(mixer: AttentionSpec): number {
  return attentionWidths(mixer).query;
}

/** `width` columns of a buffer from `first` on. */
function columns(whole: Columns, first: number, width: number): Columns {
  return { buffer: whole.buffer, column: first, width };
}
