import type { ClusterState } from '../node/cluster-state.ts';

/** Upper bounds of the duration histogram, in seconds. */
const bounds = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300] as const;

interface RouteCounts {
  readonly statuses: Map<number, number>;
  readonly buckets: number[];
  sum: number;
  count: number;
}

/**
 * Counts of the API's requests, and all of the node's numbers as Prometheus text (format 0.0.4).
 */
export class Metrics {
  readonly #routes = new Map<string, RouteCounts>();

  /** `route` is a pattern of ours, never a path that a client has chosen. */
  record(route: string, status: number, seconds: number): void {
    const counts = this.#routes.get(route) ?? {
      statuses: new Map<number, number>(),
      buckets: bounds.map(() => 0),
      sum: 0,
      count: 0,
    };
    this.#routes.set(route, counts);
    counts.statuses.set(status, (counts.statuses.get(status) ?? 0) + 1);
    for (const [index, bound] of bounds.entries()) {
      if (seconds <= bound) counts.buckets[index] = (counts.buckets[index] ?? 0) + 1;
    }
    counts.sum += seconds;
    counts.count += 1;
  }

  text(state: ClusterState): string {
    return [...this.#requestLines(), ...stateLines(state), ''].join('\n');
  }

  #requestLines(): string[] {
    const requests = ['# TYPE cidery_http_requests_total counter'];
    const durations = ['# TYPE cidery_http_request_duration_seconds histogram'];
    for (const [route, { statuses, buckets, sum, count }] of this.#routes) {
      for (const [status, value] of statuses) {
        requests.push(line('cidery_http_requests_total', { route, status: `${status}` }, value));
      }
      const name = 'cidery_http_request_duration_seconds';
      for (const [index, value] of buckets.entries()) {
        durations.push(line(`${name}_bucket`, { route, le: `${bounds[index]}` }, value));
      }
      durations.push(line(`${name}_bucket`, { route, le: '+Inf' }, count));
      durations.push(line(`${name}_sum`, { route }, sum), line(`${name}_count`, { route }, count));
    }
    return [...requests, ...durations];
  }
}

type Instance = ClusterState['instances'][number];

const instanceMetrics: readonly [string, 'counter' | 'gauge', (instance: Instance) => number][] = [
  ['cidery_instance_ready', 'gauge', ({ state }) => (state === 'ready' ? 1 : 0)],
  ['cidery_sequences_running', 'gauge', ({ measured }) => measured.running],
  ['cidery_sequences_waiting', 'gauge', ({ measured }) => measured.waiting],
  ['cidery_prompt_tokens_total', 'counter', ({ measured }) => measured.promptTokens],
  ['cidery_generated_tokens_total', 'counter', ({ measured }) => measured.generatedTokens],
  ['cidery_tokens_per_second', 'gauge', ({ measured }) => measured.tokensPerS],
  [
    'cidery_instance_memory_bytes',
    'gauge',
    ({ ranks }) => ranks.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
  ],
];

function stateLines(state: ClusterState): string[] {
  const lines = instanceMetrics.flatMap(([name, type, value]) => [
    `# TYPE ${name} ${type}`,
    ...state.instances.map((instance) =>
      line(name, { model: instance.model, instance: instance.id }, value(instance)),
    ),
  ]);
  lines.push('# TYPE cidery_node_memory_bytes gauge');
  for (const { id, memory } of state.nodes) {
    lines.push(line('cidery_node_memory_bytes', { node: id, kind: 'total' }, memory.totalBytes));
    lines.push(line('cidery_node_memory_bytes', { node: id, kind: 'free' }, memory.freeBytes));
  }
  return lines;
}

function line(name: string, labels: Readonly<Record<string, string>>, value: number): string {
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
  return `${name}{${pairs.join(',')}} ${value}`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
