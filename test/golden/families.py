"""Every golden model: its config, how its weights are stored, and what must matter in it.

Sizes are odd on purpose: head widths that do not multiply up to the hidden width, one, two or
three KV heads, a prime vocabulary, windows shorter than the prompt. Models that are quantized
have widths that are multiples of 64, except where a matrix is meant to stay float.
"""

from dataclasses import dataclass, field

from family_configs import (BASE, COHERE2, GEMMA2, GEMMA3, GLM4, GRANITE, MINISTRAL3, OLMO2, PHI3,
                            QWEN2, QWEN3, SMOLLM3)

# Greedy decoding runs from position 37 to 61; windows and rope limits below are set around it.
PROMPT_TOKENS = 37


@dataclass
class Variant:
    """One golden model.

    bites: config overrides that must change the result (else the golden proves nothing).
    inert: config overrides that must not change a bit of it (keys that mlx-lm ignores).
    paths: quantization by path: {path: {"bits", "group_size"}} or {path: False}.
    unrecorded: paths whose entry is left out of config.json, to be inferred from shapes.
    """

    name: str
    config: dict
    dtype: str = "bfloat16"
    bits: int | None = None
    group: int | None = None
    paths: dict = field(default_factory=dict)
    unrecorded: tuple[str, ...] = ()
    spread: float = 2.0
    norm_offset: float = 1.0
    layout: str = "single"
    bites: list[dict] = field(default_factory=list)
    inert: list[dict] = field(default_factory=list)


LLAMA = BASE | {"model_type": "llama", "tie_word_embeddings": True}
LLAMA_BLOCKS = LLAMA | {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def without(config: dict, *keys: str) -> dict:
    """The config without these keys, for what mlx-lm does by default."""
    return {key: value for key, value in config.items() if key not in keys}


def llama_rope(kind: str, scaling: dict, bites: list[dict] | None = None, **other) -> Variant:
    config = LLAMA | {"rope_scaling": scaling} | other
    bites = [{"rope_scaling": None}] if bites is None else bites
    return Variant(f"llama-{kind}", config, bites=bites)


def llama_variants() -> list[Variant]:
    """Everything that the llama file of mlx-lm can do, mistral included."""
    windows = {
        "num_hidden_layers": 3,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "sliding_window": 8,
    }
    biases = {"attention_bias": True, "mlp_bias": True, "rope_traditional": True}
    wide = {"hidden_size": 40, "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 24}
    return [
        Variant("llama", LLAMA, dtype="float32", bites=[{"rope_theta": 500.0}]),
        Variant("llama-f16", LLAMA | {"rms_norm_eps": 3e-3}, dtype="float16",
                bites=[{"rms_norm_eps": 1e-5}]),
        llama_rope("llama3", {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                              "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
        llama_rope("linear", {"type": "linear", "rope_type": "llama3", "factor": 2.5}),
        llama_rope("dynamic", {"type": "dynamic", "factor": 8.0}, max_position_embeddings=40),
        llama_rope("yarn", {"rope_type": "yarn", "factor": 4.0, "beta_fast": 8, "beta_slow": 1,
                            "original_max_position_embeddings": 64}, rope_theta=500.0),
        Variant("llama-biases", LLAMA | biases, bites=[{"rope_traditional": False}]),
        Variant("llama-windows", LLAMA | windows,
                bites=[{"layer_types": ["full_attention"] * 3}, {"sliding_window": 9}]),
        Variant("llama-untied", LLAMA | {"tie_word_embeddings": False}),
        Variant("llama-head-dim", LLAMA | wide),
        Variant("llama-defaults", without(LLAMA, "rope_theta", "tie_word_embeddings",
                                          "num_key_value_heads", "max_position_embeddings"),
                inert=[{"rope_theta": 10000.0, "rope_parameters": {"rope_theta": 77.0}}]),
        Variant("llama-sharded", LLAMA, layout="sharded"),
        Variant("llama-hf", LLAMA | {
            "architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16", "head_dim": None,
            "rope_scaling": None, "pretraining_tp": 1, "use_cache": True, "bos_token_id": 1,
            "eos_token_id": [2, 3], "some_future_key": {"nested": [1, None]},
        }, layout="hf"),
    ]


def quantized_llama_variants() -> list[Variant]:
    """All bit widths at group 64, all groups at 4 bits, and mixes by path."""
    kinds = {2: "float32", 3: "bfloat16", 4: "float16", 5: "bfloat16", 6: "float32", 8: "float16"}
    out = [Variant(f"llama-q{bits}-g64", LLAMA_BLOCKS, dtype=dtype, bits=bits, group=64)
           for bits, dtype in kinds.items()]
    # 6 heads of 16 make o_proj 96 wide: three groups of 32, and not quantized at 64.
    ragged = LLAMA_BLOCKS | {"num_attention_heads": 6, "head_dim": 16}
    out.append(Variant("llama-q4-g32", ragged, dtype="float32", bits=4, group=32))
    out.append(Variant("llama-q4-g64-ragged", ragged, bits=4, group=64))
    broad = LLAMA_BLOCKS | {"hidden_size": 128, "num_key_value_heads": 1}
    out.append(Variant("llama-q4-g128", broad, bits=4, group=128))
    mixed = {
        "model.embed_tokens": {"bits": 6, "group_size": 64},
        "model.layers.0.mlp.down_proj": {"bits": 8, "group_size": 32},
        "model.layers.0.self_attn.q_proj": False,
        "model.layers.1.self_attn.v_proj": False,
        "model.layers.1.mlp.gate_proj": {"bits": 3, "group_size": 32},
        "lm_head": {"bits": 5, "group_size": 32, "mode": "affine"},
    }
    out.append(Variant("llama-mixed", LLAMA_BLOCKS | {"tie_word_embeddings": False}, bits=4,
                       group=64, paths=mixed,
                       unrecorded=("model.layers.1.mlp.gate_proj",
                                   "model.layers.1.self_attn.v_proj")))
    return out


def both(variant: Variant, blocks: dict,
         quantized_bites: list[dict] | None = None) -> list[Variant]:
    """A float variant, and the same family in 4 bits at both usual groups (sizes in blocks)."""
    out = [variant]
    for group in (32, 64):
        out.append(Variant(f"{variant.name}-q4-g{group}", variant.config | blocks, bits=4,
                           group=group, dtype="bfloat16" if group == 64 else "float16",
                           spread=variant.spread, norm_offset=variant.norm_offset,
                           bites=quantized_bites or []))
    return out


BLOCKS = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}


def family_variants() -> list[Variant]:
    """Each family in float, and in 4 bits with groups of 32 and 64."""
    longrope = {"type": "longrope", "short_factor": [1.0] * 6,
                "long_factor": [1.0, 1.3, 2.1, 3.4, 5.5, 8.9]}
    partial = {"partial_rotary_factor": 0.75}
    rope = MINISTRAL3["rope_parameters"]
    return [
        *both(Variant("mistral", LLAMA | {"model_type": "mistral", "sliding_window": 8},
                      inert=[{"sliding_window": None}]), BLOCKS),
        *both(Variant("ministral3", MINISTRAL3, bites=[
            {"rope_parameters": rope | {"llama_4_scaling_beta": 0.0}},
            {"rope_parameters": rope | {"mscale": 1.0}}, {"sliding_window": 10}]),
            BLOCKS | {"head_dim": 16}),
        *both(Variant("qwen2", QWEN2, inert=[{"use_sliding_window": False, "head_dim": 99}]),
              BLOCKS),
        *both(Variant("qwen3", QWEN3, inert=[{"sliding_window": None}],
                      bites=[{"rms_norm_eps": 1e-6}]),
              BLOCKS | {"head_dim": 32, "num_key_value_heads": 1}),
        Variant("qwen3-rope-parameters", without(QWEN3, "rope_theta") | {
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 5000.0}},
            bites=[{"rope_parameters": {"rope_theta": 5000.0}}]),
        *both(Variant("gemma2", GEMMA2, norm_offset=2.0, spread=0.6,
                      inert=[{"sliding_window": 4096}],
                      bites=[{"attn_logit_softcapping": 50.0}, {"final_logit_softcapping": 30.0},
                             {"query_pre_attn_scalar": 16}]), BLOCKS),
        *both(Variant("gemma3", GEMMA3, norm_offset=2.0, spread=0.7,
                      inert=[{"layer_types": None, "_sliding_window_pattern": 9,
                              "tie_word_embeddings": False}],
                      bites=[{"sliding_window": 9}, {"rope_local_base_freq": 900.0},
                             {"rope_scaling": None}]), BLOCKS),
        Variant("gemma3-untied", GEMMA3 | {"tie_word_embeddings": True}, norm_offset=2.0,
                spread=0.7, layout="untied"),
        *both(Variant("phi3", PHI3, inert=[{"sliding_window": 99, "head_dim": 99}]), BLOCKS),
        Variant("phi3-longrope", PHI3 | partial | {
            "rope_scaling": longrope, "max_position_embeddings": 256,
            "original_max_position_embeddings": 32, "tie_word_embeddings": True},
            bites=[{"rope_scaling": None}, {"max_position_embeddings": 32}],
            inert=[{"rope_scaling": longrope | {"short_factor": [3.0] * 6}}]),
        Variant("phi3-partial", PHI3 | partial, bites=[{"partial_rotary_factor": 1.0}]),
        *both(Variant("smollm3", SMOLLM3, bites=[{"no_rope_layers": [1, 1, 1]}]),
              BLOCKS | {"no_rope_layers": None, "no_rope_layer_interval": 2},
              [{"no_rope_layer_interval": 4}]),
        *both(Variant("granite", GRANITE, bites=[{"residual_multiplier": 1.0},
                                                 {"embedding_multiplier": 1.0},
                                                 {"attention_multiplier": 0.25},
                                                 {"logits_scaling": 1.0}]),
              BLOCKS | {"attention_bias": False, "mlp_bias": True}),
        *both(Variant("glm4", GLM4, bites=[{"rope_traditional": False},
                                           {"partial_rotary_factor": 1.0}]),
              BLOCKS | {"head_dim": 16, "attention_bias": False}),
        *both(Variant("cohere2", COHERE2, spread=2.0, bites=[{"sliding_window": 9},
                                                             {"logit_scale": 1.0}]),
              BLOCKS | {"head_dim": 16, "attention_bias": True, "layer_norm_bias": True}),
        *both(Variant("olmo2", OLMO2, bites=[{"rope_theta": 10000.0}]), BLOCKS | {"head_dim": 16}),
    ]


def variants() -> list[Variant]:
    return [*llama_variants(), *quantized_llama_variants(), *family_variants()]
