/**
 * Every limit of the program in one place, each with its reason. Units stand last in the names.
 */
export const limits = {
  // text
  /** A template that has not ended by then is looping; honest ones take a few milliseconds. */
  templateTimeoutMs: 1_000,
  /** The largest tokenizers, of 260,000 tokens with their merges, are about 35 MB. */
  tokenizerMaxBytes: 256 * 1024 * 1024,
  /** Memory of the thread that templates run in: a hundred times a long chat. */
  templateMemoryMiB: 256,
  /** The thread that templates run in is there within 0.1 s; a loaded machine takes longer. */
  templateStartMs: 10_000,
  /** Chats that wait for the thread; at a few milliseconds each they are through in a second. */
  templateJobsMax: 256,
  /**
   * Longest text that a template may make: a million tokens. What one operation of JavaScript takes
   * for a text of this length fits the thread's memory; at four times it the whole process died.
   */
  templateOutputMaxCharacters: 4 * 1024 * 1024,

  // store: models from a hub and from packages
  /** Listings of the largest repositories (thousands of files with hashes) stay under a few MiB. */
  hubListingMaxBytes: 32 * 1024 * 1024,
  /** More files than any model has; past that a listing is an attack on memory. */
  hubListingMaxFiles: 100_000,
  /** A token has about 40 characters. */
  hubTokenMaxBytes: 4096,
  /** A hub answers with one redirect to its CDN, a renamed repository with one more. */
  hubMaxRedirects: 5,
  /**
   * A connection that has brought less than `hubStallMinBytes` in this time is given up and tried
   * again.
   */
  hubStallMs: 30_000,
  /** Below this in `hubStallMs` (2 KB/s) a line is dead or a server is dripping on purpose. */
  hubStallMinBytes: 64 * 1024,
  /**
   * A try that brought less did not get on: a server that breaks off after a few bytes must not go
   * on for ever.
   */
  hubProgressMinBytes: 64 * 1024,
  /**
   * Tries in a row that did not get on, before an error is shown: about half a minute of waiting.
   */
  hubMaxAttempts: 6,
  hubRetryBaseMs: 500,
  hubRetryMaxMs: 15_000,
  /**
   * A hub that asks for a longer wait gets an error instead; nobody watches a bar stand still for
   * longer.
   */
  hubRetryAfterMaxMs: 120_000,
  /**
   * Files and ranges of one file under way at once: eight connections fill a fast line, hubs allow
   * more.
   */
  hubFilesAtOnce: 2,
  hubRangesAtOnce: 4,
  /**
   * Large enough that a range's round trip does not count, small enough that ends are shared out
   * evenly.
   */
  hubRangeBytes: 32 * 1024 * 1024,
  /** What a kill can cost: bytes that came since the state was last written are fetched again. */
  hubStateSaveMs: 500,
  /** State of a partial file: a hundred ranges is a few KiB. */
  hubStateMaxBytes: 1024 * 1024,
  /**
   * Reads while hashing and copying: large enough to run at the disk's speed, small enough to
   * yield.
   */
  storeReadBytes: 1024 * 1024,
  /** Progress events: ten a second is more than an eye follows. */
  progressIntervalMs: 100,
  /** The rate that is shown is over this long, so that one slow second does not swing it. */
  progressRateWindowMs: 5_000,
  /** Left free on the disk by a download, so that logs and the system go on. */
  diskReserveBytes: 256 * 1024 * 1024,
  /** How often a pull looks whether another process has finished the same file. */
  fileLockPollMs: 250,
  /** A lock whose holder has not touched it for this long belongs to a machine that is gone. */
  fileLockStaleMs: 60_000,
  fileLockTouchMs: 5_000,
  /**
   * Snapshots and blobs of the Hugging Face cache that are looked at; a cache of a collector has
   * thousands.
   */
  cacheMaxEntries: 100_000,
  /**
   * Small text files of a cache (refs, token, index): an index of 100,000 tensors is about 10 MiB.
   */
  cacheTextMaxBytes: 32 * 1024 * 1024,
  /** Central directory of a wheel: a few hundred files; a larger one is not one of ours. */
  zipDirectoryMaxBytes: 16 * 1024 * 1024,
  /** A package client that runs longer is stuck; 250 MB over a slow line takes a quarter of it. */
  packageClientTimeoutMs: 60 * 60_000,
  /** Output of the package client that is kept for an error message. */
  packageClientOutputMaxBytes: 64 * 1024,

  // store formats
  /** The safetensors format's own limit for a header. */
  safetensorsHeaderMaxBytes: 100_000_000,
  /** Metadata and tensor list of a GGUF file; the largest vocabularies with merges take 40 MB. */
  ggufHeaderMaxBytes: 256 * 1024 * 1024,
  /** One read of a GGUF header: small headers take one, large ones a few dozen. */
  ggufReadBytes: 1024 * 1024,
  /** Metadata keys and tensor names; the GGUF specification's own limit for a key. */
  ggufNameMaxBytes: 65_535,
  /** A table of rope factors: one f32 for each pair of a head, and heads are a few hundred wide. */
  ropeTableMaxBytes: 64 * 1024,
  /** More layers than any model has; a larger count is a lie that would only cost time. */
  modelLayersMax: 4_096,
  /** Parts of one model in files; the largest published ones have a few hundred. */
  modelFilesMax: 10_000,
  /**
   * config.json, generation_config.json and the like are kilobytes; quantization tables reach 2 MB.
   */
  modelConfigMaxBytes: 16 * 1024 * 1024,
  /** model.safetensors.index.json: 100,000 tensors take about 10 MB. */
  modelIndexMaxBytes: 64 * 1024 * 1024,
  /** tokenizer.json of the largest vocabularies (262,144 tokens, 515,000 merges) takes 34 MB. */
  tokenizerFileMaxBytes: 128 * 1024 * 1024,
  /** A chat template in a file; the longest known ones take 100 KB. */
  chatTemplateMaxBytes: 4 * 1024 * 1024,

  // model: what a config.json may ask for; far above the largest models, far below what breaks
  // arithmetic
  /**
   * Widths of hidden states, inner layers and all heads together: the widest published are under
   * 80,000.
   */
  modelMaxWidth: 1 << 20,
  modelMaxHeads: 8192,
  /** Vocabularies are under 300,000. */
  modelMaxVocabulary: 1 << 22,
  /** Positions are counted in 32 bits; the longest published contexts are 10 million. */
  modelMaxContext: 1 << 30,
  /** Names of tensors that an error lists before it only counts the rest. */
  modelErrorNames: 5,

  // ranks of one model
  /** More ranks than people's machines make a cluster of; their messages grow with each. */
  ranksMax: 64,
  /** A share of a rank is a weight; up to here products of it and any size stay exact enough. */
  rankShareMax: 1e12,

  // rank: loading
  /** Bytes read between two reports of progress: a tenth of a second of a fast disk. */
  loadBatchBytes: 128 * 1024 * 1024,

  // rank: scheduler
  /**
   * Prompt tokens a step computes beside running sequences: their next tokens wait no longer than
   * this takes.
   */
  promptTokensPerStep: 256,
  /** Below this a chunk's fixed cost outweighs its fairness. */
  promptShareMin: 16,
  /** Waiting for another request's prompt pays when it saves at least this many positions. */
  sharedPrefixMin: 32,
  /** Sequences that wait in a rank; the router's queue is in front of it. */
  sequencesWaitingMax: 1024,
  /** Alternatives a token: OpenAI's own limit is 20. */
  alternativesMax: 20,
  /**
   * A logprob that is sent is never below this: JSON has no minus infinity (OpenAI's own floor).
   */
  logprobMin: -9_999,
  /** Answers to one prompt: OpenAI's own limit is 128. */
  choicesMax: 128,
  /** Stop strings a request, and their length: OpenAI allows 4, Ollama and others more. */
  stopsMax: 16,
  stopMaxCharacters: 1_024,
  /** Text of a prompt: a million tokens. Encoding takes up to 250 bytes of memory a character. */
  promptMaxCharacters: 4 * 1024 * 1024,

  /** A manifest of 20,000 tensors: larger ones are read from the model each time. */
  keptManifestMaxBytes: 8 * 1024 * 1024,
  /** The compiled code that reads manifests, which is hashed. */
  manifestScriptMaxBytes: 4 * 1024 * 1024,

  // rank: its process
  /** Longest line between daemon and rank: a manifest of 100,000 tensors, or the longest prompt. */
  rankLineMaxBytes: 256 * 1024 * 1024,
  /** Bytes that a rank may leave unread before it counts as stuck. */
  rankUnsentMaxBytes: 512 * 1024 * 1024,
  /**
   * A rank's process says hello within this; Node and the addon take a tenth of it on a slow
   * machine.
   */
  rankHelloMs: 30_000,
  rankPingMs: 500,
  /** JavaScript of a rank that has not answered for this long is stuck. */
  rankSilenceMs: 15_000,
  /**
   * The same before its model is there: the tokenizer of 262,144 tokens takes 2 s, and a busy or
   * slow machine a multiple of that.
   */
  rankLoadingSilenceMs: 120_000,
  /**
   * A process that gives no native sign of life for this long is stopped, and a rank of a group of
   * which the others hear nothing is lost. Signs come twice a second and wait for nothing but a
   * core. CIDERY_SILENCE_MS sets it.
   */
  rankStoppedMs: 3_000,
  /** Least that it can be set to: a daemon that was held up for a second ends nobody. */
  rankStoppedLeastMs: 2_000,
  /** Beyond it nobody waits for an answer. */
  rankStoppedMostMs: 600_000,
  /**
   * A single step that takes longer is stuck: 256 prompt tokens of a large model on a slow machine
   * take a minute.
   */
  rankStepMs: 300_000,
  /** A rank's loss reaches the daemon and the other ranks at the same moment. */
  groupCauseMs: 250,
  /** A rank waits so long for others that still read their weights: 350 GB at 200 MB/s. */
  groupConnectMs: 1_800_000,
  /** From a request to leave to SIGTERM, and from there to SIGKILL. */
  rankLeaveMs: 1_000,
  rankTerminateMs: 1_000,
  /** Log lines kept of each rank for its error message. */
  rankLogLines: 50,
  rankLogLineMaxCharacters: 4_096,

  // node
  /**
   * Events of one answer that its client has not fetched: a minute at a hundred tokens a second.
   */
  generationEventsMax: 8_192,
  /** Requests of one model that run or wait; the next one gets 429. */
  requestsPerModelMax: 256,
  /**
   * Sequences that run at once in one instance: beyond it a CPU gains little from one more, and
   * each of MLX's slots takes memory for 256 positions at a time.
   */
  slotsPerInstance: { cpu: 64, mlx: 16 },
  /**
   * A model that fails this often without a ready state between is given up until it is asked for
   * anew.
   */
  instanceStartsMax: 4,
  /** The same for several ranks; then fewer are tried. */
  groupStartsMax: 3,
  instanceRestartDelayMs: 250,
  /** A rank that has been ready for so long, or has brought anything, was no failed start. */
  instanceProvenMs: 10_000,
  /**
   * Ranks that may be lost in a row over one request without a new token of it between: the last
   * time it runs alone, so that it takes nobody along, and then it is given up.
   */
  fruitlessTriesMax: 2,
  /** Speeds that are shown are over this long. */
  speedWindowMs: 5_000,
  /** Log lines kept in memory for `cidery logs`. */
  logLinesKept: 2_000,
  /** Longest wait for a model to load before the request gets 503. */
  modelLoadWaitMs: 600_000,

  // api
  /** Largest request body: the longest prompt with its JSON escapes. */
  bodyMaxBytes: 64 * 1024 * 1024,
  /** A client whose socket has been full for this long is gone or asleep; its answer is ended. */
  clientStallMs: 1_000,
  /** A comment after this long without an event: proxies close after 30 s to 60 s of silence. */
  keepAliveMs: 15_000,
  /** Connections at once; with 16 machines of users a few dozen are in use. */
  connectionsMax: 1_024,
  /** From the first byte of a request to the end of its headers, and of its body. */
  headersTimeoutMs: 10_000,
  bodyTimeoutMs: 60_000,
  /** Prompts of one completion request; each runs as a request of its own. */
  promptsPerRequestMax: 128,
  /** State is sent to watchers at most this often. */
  stateEventIntervalMs: 200,
  /** Memory and speeds are sent anew this often when nothing else changes. */
  stateRefreshMs: 800,
  /** Watchers of the state at once: pages that are open. */
  stateWatchersMax: 64,
  /** An idle connection waits this long for its next request: pages ask every few seconds. */
  idleConnectionMs: 15_000,
  /** Answers under way when a node closes; with the ranks' leaving it stays within 5 s. */
  closeGraceMs: 2_500,

  // cli
  /** A node that does not say within this that it is well is not there. */
  healthTimeoutMs: 2_000,
  /** Longest request line of `cidery debug`: the ids of the longest prompt. */
  debugLineMaxBytes: 64 * 1024 * 1024,
  /** A prompt from standard input. */
  promptInputMaxBytes: 32 * 1024 * 1024,
  /** Two of these are kept: some 100,000 lines, a few weeks of a busy node. */
  logFileMaxBytes: 8 * 1024 * 1024,
  logFileReadBytes: 1024 * 1024,
  /** Redraws of a progress bar: more is not seen and costs time over slow terminals. */
  progressDrawMs: 100,
} as const;
