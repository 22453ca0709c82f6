import { activationKinds, headNormKinds, sumKinds } from './operations.ts';
import { attentionWidths, layerPath } from './parameters.ts';
import { columns, ProgramBuilder } from './program-builder.ts';
import type { Columns, Program, ProgramParameter } from './program.ts';
import type { AttentionSpec, FeedForwardSpec, LayerSpec, ModelSpec, NormSpec } from './spec.ts';
import { ownRange } from './split/parts.ts';
import type { JoinKind, LayerParts, SplitPlan } from './split/plan.ts';
import type { Range } from './split/shares.ts';

/**
 * Turns a spec into the operations of one step, over a handful of buffers that all layers share.
 * @param parameters what the rank of the plan has.
 */
export function lowerModel(
  spec: ModelSpec,
  parameters: readonly ProgramParameter[],
  plan: SplitPlan,
): Program {
  return new Lowering(spec, parameters, plan).program();
}

/** A layer as this rank runs it. */
interface OwnLayer {
  readonly index: number;
  readonly spec: LayerSpec;
  readonly parts: LayerParts;
}

class Lowering {
  readonly #spec: ModelSpec;
  readonly #plan: SplitPlan;
  readonly #layers: readonly OwnLayer[];
  readonly #build: ProgramBuilder;
  /** Buffers that only some models need, by their names. */
  readonly #extra = new Map<string, Columns>();
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

  constructor(spec: ModelSpec, parameters: readonly ProgramParameter[], plan: SplitPlan) {
    this.#spec = spec;
    this.#plan = plan;
    this.#build = new ProgramBuilder(parameters);
    const { first, count } = ownRange(plan.stages, { member: plan.stage });
    this.#layers = plan.layers.slice(first, first + count).flatMap((parts, at) => {
      const layer = spec.layers[first + at];
      return layer === undefined ? [] : [{ index: first + at, spec: layer, parts }];
    });
    const buffer = (name: string, widthOf: (layer: OwnLayer) => number) =>
      this.#build.buffer(name, this.#widest(widthOf));
    const width = (ranges: readonly Range[]) => ownRange(ranges, plan).count;
    this.#hidden = this.#build.buffer('hidden', spec.width);
    this.#normed = this.#build.buffer('normed', spec.width);
    this.#update = this.#build.buffer('update', spec.width);
    this.#projected = buffer(
      'projected',
      ({ parts }) => width(parts.queries) + width(parts.keys) + width(parts.values),
    );
    this.#mixed = buffer('mixed', ({ parts }) => width(parts.queries));
    this.#inner = buffer('inner', ({ parts }) => 2 * width(parts.inner));
    this.#activated = buffer('activated', ({ parts }) => width(parts.inner));
  }

  program(): Program {
    const { vocabulary, contextLength } = this.#spec;
    const { rank, ranks, stage, stages } = this.#plan;
    const last = stages.length - 1;
    if (stage === 0) this.#embed();
    else this.#build.receive(this.#hidden, stage - 1);
    for (const layer of this.#layers) this.#layer(layer);
    if (stage < last) this.#build.send(this.#hidden, stage + 1);
    if (stage === last || stage === 0) {
      const selected = this.#build.buffer('selected', this.#spec.width, 'selected');
      const hidden = this.#hidden;
      if (stage === last) {
        this.#build.emit({ kind: 'select', fields: { out: selected, in: hidden } });
        if (stage > 0) this.#build.send(selected, 0);
      } else this.#build.receive(selected, last);
      if (stage === 0) this.#head(selected);
    }
    return this.#build.program({ vocabulary, contextLength, rank, ranks });
  }

  #embed(): void {
    const { embedScale: scale } = this.#spec;
    const { first } = ownRange(this.#plan.vocabulary, this.#plan);
    const fields = { out: this.#hidden, table: this.#table(), scale, first };
    this.#build.emit({ kind: 'embed', fields });
    // All but one rank bring nothing: what that one has stays as it is.
    this.#sum(this.#hidden, 'exact');
  }

  #head(selected: Columns): void {
    const { prefix, width, finalNorm, head } = this.#spec;
    const output = this.#build.buffer('output', width, 'selected');
    this.#build.norm(`${prefix}model.norm`, finalNorm, selected, output);
    const weight = head.tied ? this.#table() : this.#build.parameter(`${prefix}lm_head.weight`);
    const { scale, softcap } = head;
    const { first } = ownRange(this.#plan.vocabulary, this.#plan);
    const fields = { in: output, weight, bias: null, scale, softcap, first };
    this.#build.emit({ kind: 'head', fields });
  }

  #layer(layer: OwnLayer): void {
    const { norms, norm, residualScale } = layer.spec;
    const path = layerPath(this.#spec, layer.index);
    const mix = (input: Columns) => this.#attention(layer, `${path}.self_attn`, input);
    const feed = (input: Columns) => this.#gated(layer, `${path}.mlp`, input);
    const normed = (name: string, input: Columns): Columns =>
      this.#build.norm(`${path}.${name}`, norm, input, this.#normed);
    const add = (update: Columns) => this.#build.add(this.#hidden, update, residualScale);
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

  #attention({ spec, parts }: OwnLayer, module: string, input: Columns): Columns {
    const { mixer, norm } = spec;
    const { q, k, v } = this.#project(spec, parts, module, input);
    const overHead = mixer.headNorm === 'head';
    const groupHeads = mixer.heads / mixer.keyHeads;
    const firstHead = ownRange(parts.queries, this.#plan).first / mixer.headWidth;
    const out = columns(this.#mixed, 0, q.width);
    const shape = {
      keyHeads: v.width / mixer.headWidth,
      headWidth: mixer.headWidth,
      valueWidth: mixer.headWidth,
    };
    this.#build.emit({
      kind: 'attention',
      fields: {
        out,
        q,
        k,
        v,
        cache: this.#build.cache({ ...shape, window: mixer.window }),
        heads: q.width / mixer.headWidth,
        ...shape,
        groupHeads,
        firstInGroup: firstHead % groupHeads,
        scale: mixer.scale,
        softcap: mixer.softcap,
        window: mixer.window,
        qNorm: overHead ? this.#build.parameter(`${module}.q_norm.weight`) : null,
        kNorm: overHead ? this.#build.parameter(`${module}.k_norm.weight`) : null,
        normKind: overHead ? headNormKinds.head : headNormKinds.none,
        normEpsilon: overHead ? norm.epsilon : 0,
        normWeightOffset: overHead ? norm.weightOffset : 0,
        rope: this.#build.rope(mixer.rope),
        queryScaleBeta: mixer.queryScale?.beta ?? 0,
        queryScaleOriginal: mixer.queryScale?.original ?? 0,
        sinks: null,
      },
    });
    return this.#join(`${module}.o_proj`, parts.mixerJoin, out, parts.queries);
  }

  /** This rank's q, k and v. */
  #project({ mixer, norm }: LayerSpec, parts: LayerParts, module: string, input: Columns) {
    const own = (ranges: readonly Range[]) => ownRange(ranges, this.#plan);
    const [queries, keys, values] = [own(parts.queries), own(parts.keys), own(parts.values)];
    const q = columns(this.#projected, 0, queries.count);
    const k = columns(this.#projected, queries.count, keys.count);
    const v = columns(this.#projected, queries.count + keys.count, values.count);
    if (mixer.projections === 'fused') {
      const width = queries.count + keys.count + values.count;
      this.#build.linear(`${module}.qkv_proj`, input, columns(this.#projected, 0, width));
    } else {
      this.#build.linear(`${module}.q_proj`, input, q);
      this.#build.linear(`${module}.k_proj`, input, k);
      this.#build.linear(`${module}.v_proj`, input, v);
    }
    if (mixer.headNorm !== 'width') return { q, k, v };
    // Over all heads together: gathered, so that every rank norms the same values.
    const rms: NormSpec = { ...norm, kind: 'rms', bias: false };
    const { query, key } = attentionWidths(mixer);
    const normed = (name: string, from: Columns, ranges: readonly Range[], at: Range) => {
      const place = columns(this.#normedHeads(), at.first, at.count);
      this.#build.norm(`${module}.${name}`, rms, this.#gather(from, at, ranges), place);
      return place;
    };
    const wholeQ = normed('q_norm', q, parts.queries, { first: 0, count: query });
    const wholeK = normed('k_norm', k, parts.keys, { first: query, count: key });
    return {
      q: columns(wholeQ, queries.first, queries.count),
      k: columns(wholeK, query + values.first, values.count),
      v,
    };
  }

  #gated({ spec, parts }: OwnLayer, module: string, input: Columns): Columns {
    const feedForward: FeedForwardSpec = spec.feedForward;
    const width = ownRange(parts.inner, this.#plan).count;
    const gate = columns(this.#inner, 0, width);
    const up = columns(this.#inner, width, width);
    if (feedForward.projections === 'fused') {
      this.#build.linear(`${module}.gate_up_proj`, input, columns(this.#inner, 0, 2 * width));
    } else {
      this.#build.linear(`${module}.gate_proj`, input, gate);
      this.#build.linear(`${module}.up_proj`, input, up);
    }
    const out = columns(this.#activated, 0, width);
    const kind = activationKinds[feedForward.activation];
    this.#build.emit({ kind: 'activate', fields: { out, gate, up, kind } });
    return this.#join(`${module}.down_proj`, parts.feedForwardJoin, out, parts.inner);
  }

  /** From this rank's columns of a matrix's input to the whole of its output, on every rank. */
  #join(module: string, kind: JoinKind, input: Columns, ranges: readonly Range[]): Columns {
    if (kind === 'sum') {
      this.#build.linear(module, input, this.#update);
      this.#sum(this.#update, 'rounded');
      return this.#update;
    }
    const count = countsOf(ranges).reduce((sum, width) => sum + width, 0);
    const whole = this.#gather(input, { first: 0, count }, ranges);
    const { width } = this.#plan;
    const part = this.#lazy('part', ownRange(width, this.#plan).count);
    this.#build.allGather(this.#update, this.#build.linear(module, whole, part), countsOf(width));
    return this.#update;
  }

  /** Puts all ranks' parts side by side into columns `at` of a buffer; what is whole stays. */
  #gather(part: Columns, at: Range, ranges: readonly Range[]): Columns {
    if (part.width === at.count) return part;
    const width = this.#widest(({ spec: { mixer, feedForward } }) =>
      Math.max(bothWidths(mixer), feedForward.inner),
    );
    const out = columns(this.#lazy('gathered', width), at.first, at.count);
    this.#build.allGather(out, part, countsOf(ranges));
    return out;
  }

  #sum(data: Columns, kind: keyof typeof sumKinds): void {
    if (this.#plan.members === 1) return;
    this.#build.emit({ kind: 'allSum', fields: { data, kind: sumKinds[kind] } });
  }

  #table(): number {
    return this.#build.parameter(`${this.#spec.prefix}model.embed_tokens.weight`);
  }

  /** q and k side by side, normalized over their widths. */
  #normedHeads(): Columns {
    return this.#lazy(
      'normedHeads',
      this.#widest(({ spec }) => bothWidths(spec.mixer)),
    );
  }

  /** A buffer that only some models need: made when it is first used. */
  #lazy(name: string, width: number): Columns {
    const made = this.#extra.get(name) ?? this.#build.buffer(name, width);
    this.#extra.set(name, made);
    return made;
  }

  #widest(widthOf: (layer: OwnLayer) => number): number {
    return Math.max(...this.#layers.map(widthOf));
  }
}

function bothWidths(mixer: AttentionSpec): number {
  const { query, key } = attentionWidths(mixer);
  return query + key;
}

function countsOf(ranges: readonly Range[]): number[] {
  return ranges.map(({ count }) => count);
}
