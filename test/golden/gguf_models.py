"""Real GGUF files turned into folders that mlx-lm loads, without losing a bit.

Q4_1 and Q8_0 are affine groups of 32 by definition (d q + m, and d (q + 128) - 128 d), so they
stay packed; every other format is dequantized to f32 by the gguf package.
"""

import json
from pathlib import Path

import gguf
import mlx.core as mx
import numpy as np

GROUP = 32
LAYER_NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
}
# What ffn_norm and post_attention_norm mean depends on the number of norms in a layer.
NORM_NAMES = {
    "llama": {"ffn_norm": "post_attention_layernorm"},
    "gemma3": {"ffn_norm": "pre_feedforward_layernorm",
               "post_attention_norm": "post_attention_layernorm",
               "post_ffw_norm": "post_feedforward_layernorm"},
}


def path_of(name: str, architecture: str) -> str:
    """mlx-lm's module path for a GGUF tensor's name."""
    parts = name.removesuffix(".weight").split(".")
    if parts[0] == "blk":
        names = LAYER_NAMES | NORM_NAMES[architecture]
        return f"model.layers.{parts[1]}.{names[parts[2]]}"
    return {"token_embd": "model.embed_tokens", "output_norm": "model.norm",
            "output": "lm_head"}[parts[0]]


def rows_in_order(rows: np.ndarray, heads: int) -> np.ndarray:
    """Undoes llama.cpp's interleaving of the two halves of each head; rows may be packed bytes."""
    width = rows.shape[0] // heads
    split = rows.reshape(heads, width // 2, 2, *rows.shape[1:])
    return split.swapaxes(1, 2).reshape(rows.shape)


def affine(rows: np.ndarray, kind: gguf.GGMLQuantizationType) -> tuple[dict, dict]:
    """Packed GGUF rows as MLX weight, scales and biases in f32, and their quantization."""
    bits, size = {"Q4_1": (4, 20), "Q8_0": (8, 34)}[kind.name]
    blocks = rows.reshape(rows.shape[0], -1, size)

    def halves(at: int) -> np.ndarray:
        return blocks[:, :, at : at + 2].copy().view(np.float16)[:, :, 0].astype(np.float32)

    scales = halves(0)
    if bits == 4:
        low, high = blocks[:, :, 4:] & 15, blocks[:, :, 4:] >> 4
        values, biases = np.concatenate([low, high], axis=-1), halves(2)
        values = values[..., ::2] | (values[..., 1::2] << 4)
    else:
        values, biases = blocks[:, :, 2:] ^ 128, -128.0 * scales  # two's complement to offset
    weight = np.ascontiguousarray(values.reshape(rows.shape[0], -1)).view(np.uint32)
    exact = gguf.quants.dequantize(rows, kind)
    parts = {"weight": mx.array(weight), "scales": mx.array(scales), "biases": mx.array(biases)}
    settings = {"group_size": GROUP, "bits": bits}
    back = mx.dequantize(parts["weight"], parts["scales"], parts["biases"], **settings)
    if not np.array_equal(np.array(back), exact):
        raise SystemExit("affine groups do not hold the file's values exactly")
    return parts, settings


def convert(reader: gguf.GGUFReader, config: dict, folder: Path) -> None:
    """Writes config.json and model.safetensors for a llama or gemma3 GGUF."""
    architecture = reader.fields["general.architecture"].contents()
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    tensors, quantization = {}, {"group_size": GROUP, "bits": 4, "mode": "affine"}
    for tensor in reader.tensors:
        path, rows = path_of(tensor.name, architecture), np.array(tensor.data)
        leaf = tensor.name.split(".")[-2]
        if architecture == "llama" and leaf in heads:
            rows = rows_in_order(rows, heads[leaf])
        if tensor.tensor_type.name in ("Q4_1", "Q8_0"):
            parts, quantization[path] = affine(rows, tensor.tensor_type)
            tensors |= {f"{path}.{key}": value for key, value in parts.items()}
            continue
        values = gguf.quants.dequantize(rows, tensor.tensor_type)
        if architecture == "gemma3" and leaf.endswith("norm"):
            values = values - np.float32(1.0)  # llama.cpp stores 1 + w
        tensors[f"{path}.weight"] = mx.array(values)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config | {"quantization": quantization}))
    mx.save_safetensors(str(folder / "model.safetensors"), tensors)


def config_of(reader: gguf.GGUFReader) -> dict:
    """The config.json that belongs to a llama or gemma3 GGUF."""
    architecture = reader.fields["general.architecture"].contents()

    def read(key: str):
        return reader.fields[f"{architecture}.{key}"].contents()

    shape = {
        "hidden_size": read("embedding_length"),
        "num_hidden_layers": read("block_count"),
        "intermediate_size": read("feed_forward_length"),
        "num_attention_heads": read("attention.head_count"),
        "num_key_value_heads": read("attention.head_count_kv"),
        "rms_norm_eps": read("attention.layer_norm_rms_epsilon"),
        "rope_theta": read("rope.freq_base"),
        "max_position_embeddings": read("context_length"),
        "vocab_size": len(reader.fields["tokenizer.ggml.tokens"].contents()),
    }
    if architecture == "llama":
        return shape | {"model_type": "llama", "tie_word_embeddings": True}
    return shape | {
        "model_type": "gemma3_text",
        "head_dim": read("attention.key_length"),
        "query_pre_attn_scalar": read("attention.key_length"),
        "sliding_window": read("attention.sliding_window"),
        "sliding_window_pattern": 6,
        "rope_local_base_freq": 10000.0,
    }
