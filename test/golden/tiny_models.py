"""Random weights for a tiny model of mlx-lm, and writing it as mlx-lm and Hugging Face do."""

import contextlib
import copy
import io
import json
import zlib
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm.utils import _get_classes, quantize_model

from families import Variant


def random_weights(model, variant: Variant, seed: int) -> list[tuple[str, mx.array]]:
    """Weights by path in f32, each from its own generator, so that order does not matter.

    Matrices keep the size of what passes through them, so that every layer counts; embedding and
    head are scaled for logits of deviation `variant.spread`; norms differ from one, biases from 0.
    """
    config = variant.config
    head = variant.spread * config.get("logits_scaling", 1.0) / config.get("logit_scale", 1.0)
    out = []
    for path, value in tree_flatten(model.parameters()):
        generator = np.random.Generator(np.random.Philox([seed, zlib.crc32(path.encode())]))
        noise = generator.standard_normal(value.shape)
        if path.endswith(".bias"):
            noise = 0.3 * noise
        elif len(value.shape) == 1:
            noise = variant.norm_offset + 0.3 * noise
        elif "embed_tokens" in path or "lm_head" in path:
            noise = noise * head / np.sqrt(value.shape[-1])
        else:
            noise = 1.3 * noise / np.sqrt(value.shape[-1])
        out.append((path, mx.array(noise.astype(np.float32))))
    return out


def build(variant: Variant, seed: int) -> tuple[dict, dict[str, mx.array]]:
    """config.json and tensors by path, in the stored type, quantized where the variant says so."""
    model_class, arguments = _get_classes(variant.config)
    model = model_class(arguments.from_dict(variant.config))
    if variant.config["model_type"] == "gemma3_text" and variant.layout != "untied":
        model.sanitize({})  # no head in the file: this is what ties it
    model.update(tree_unflatten(random_weights(model, variant, seed)))
    model.set_dtype(getattr(mx, variant.dtype))
    config = copy.deepcopy(variant.config)
    if variant.bits is not None:
        own = getattr(model, "quant_predicate", None)

        def predicate(path, module):
            if path in variant.paths:
                return variant.paths[path]
            return own(path, module) if own else True

        with contextlib.redirect_stdout(io.StringIO()):  # it prints its bits per weight
            model, config = quantize_model(model, config, variant.group, variant.bits,
                                           quant_predicate=predicate)
        recorded = {p: v for p, v in variant.paths.items() if p not in variant.unrecorded}
        config["quantization"] |= recorded
        for path in variant.unrecorded:
            config["quantization"].pop(path, None)
    return config, dict(tree_flatten(model.parameters()))


def decoys(config: dict, tensors: dict[str, mx.array]) -> dict[str, mx.array]:
    """What Hugging Face files of old carry besides: a head that is tied, tables of rope."""
    extra = {"lm_head.weight": tensors["model.embed_tokens.weight"][::-1] * 2}
    for layer in range(config["num_hidden_layers"]):
        extra[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = mx.arange(8.0)
    return extra


def save(folder: Path, variant: Variant, config: dict, tensors: dict[str, mx.array]) -> None:
    """config.json and the safetensors file or files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    if variant.layout == "sharded":
        names = sorted(tensors)
        halves = [names[::2], names[1::2]]
        index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}}
        index["weight_map"] = {}
        for number, half in enumerate(halves, 1):
            file = f"model-{number:05d}-of-00002.safetensors"
            index["weight_map"] |= dict.fromkeys(half, file)
            mx.save_safetensors(str(folder / file), {n: tensors[n] for n in half},
                                {"format": "mlx"})
        text = json.dumps(index, indent=1, sort_keys=True)
        (folder / "model.safetensors.index.json").write_text(text + "\n")
    elif variant.layout == "hf":
        everything = tensors | decoys(config, tensors)
        mx.save_safetensors(str(folder / "model.safetensors"), everything, {"format": "pt"})
    else:  # without metadata, MLX writes "__metadata__": null, which readers must accept
        mx.save_safetensors(str(folder / "model.safetensors"), tensors)
