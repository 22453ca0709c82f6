"""Makes the tiny models and what mlx-lm says about them, in f32 on the CPU.

make_goldens.py [--only NAME...]   writes models/NAME/{config.json,model*,golden.safetensors}
make_goldens.py --check            makes them in a temporary folder and compares with models/

golden.safetensors: ids [37] i32 (the prompt), logits [16, vocabulary] f32 (one forward over the
prompt, without a cache, the last rows), tokens [24] i32 (greedy, by generate_step with its cache).
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ["MLX_DISABLE_COMPILE"] = "1"  # else the first call of every model runs a C++ compiler

import mlx.core as mx
import numpy as np
from mlx_lm.generate import generate_step
from mlx_lm.utils import load_model

from families import PROMPT_TOKENS, Variant, variants
from tiny_models import build, save

HERE = Path(__file__).parent
ROWS = 16
GREEDY_TOKENS = 24
# The best token must lead by this share of the logits' deviation, or rounding could decide.
LEAST_LEAD = 0.01
LEAST_DISTINCT_TOKENS = 8


def reference(folder: Path, override: dict | None = None):
    """The model in f32: what is stored in other types is widened, nothing is rounded."""
    model, _ = load_model(folder, model_config=override)
    model.set_dtype(mx.float32)
    return model


def logits_of(model, ids: list[int]) -> np.ndarray:
    return np.array(model(mx.array([ids]))[0].astype(mx.float32))


def greedy(model, ids: list[int]) -> tuple[list[int], float]:
    """24 tokens, and the smallest lead of a chosen token over the next best (in logits)."""
    tokens, lead = [], float("inf")
    for token, scores in generate_step(mx.array(ids), model, max_tokens=GREEDY_TOKENS):
        best = np.sort(np.array(scores))[-2:]
        lead = min(lead, float(best[1] - best[0]))
        tokens.append(int(token))
    return tokens, lead


def greedy_uncached(model, ids: list[int]) -> list[int]:
    """The same tokens by whole forwards: cache and windows must not change the answer."""
    tokens: list[int] = []
    for _ in range(GREEDY_TOKENS):
        tokens.append(int(logits_of(model, ids + tokens)[-1].argmax()))
    return tokens


def golden(folder: Path, ids: list[int]) -> tuple[dict[str, np.ndarray], float]:
    model = reference(folder)
    tokens, lead = greedy(model, ids)
    logits = logits_of(model, ids)[-ROWS:]
    arrays = {"ids": np.array(ids, np.int32), "tokens": np.array(tokens, np.int32)}
    return arrays | {"logits": logits}, lead / float(logits.std())


def prove(variant: Variant, folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Fails unless the golden depends on what it is meant to test, and on nothing ignored."""
    ids, logits = arrays["ids"].tolist(), arrays["logits"]
    tokens, deviation = arrays["tokens"].tolist(), float(logits.std())
    model = reference(folder)
    dynamic = (variant.config.get("rope_scaling") or {}).get("type") == "dynamic"
    if not dynamic and greedy_uncached(model, ids) != tokens:
        raise SystemExit(f"{variant.name}: cached and uncached tokens differ")
    for override in variant.bites:
        other = reference(folder, override)
        moved = np.abs(logits_of(other, ids)[-ROWS:] - logits).max() / deviation
        if moved < 0.01 and greedy(other, ids)[0] == tokens:
            raise SystemExit(f"{variant.name}: {override} changes nothing ({moved:.2e})")
    for override in variant.inert:
        other = reference(folder, override)
        if not np.array_equal(logits_of(other, ids)[-ROWS:], logits):
            raise SystemExit(f"{variant.name}: {override} is not ignored")


def make(variant: Variant, out: Path) -> str:
    """One golden; the first seed whose greedy answer is varied and not decided by rounding."""
    folder = out / variant.name
    for seed in range(100):
        config, tensors = build(variant, seed)
        save(folder, variant, config, tensors)
        generator = np.random.Generator(np.random.Philox([seed, PROMPT_TOKENS]))
        ids = generator.integers(0, config["vocab_size"], PROMPT_TOKENS).tolist()
        arrays, lead = golden(folder, ids)
        distinct = len(set(arrays["tokens"].tolist()))
        if lead >= LEAST_LEAD and distinct >= LEAST_DISTINCT_TOKENS:
            break
    else:
        raise SystemExit(f"{variant.name}: no seed gives a usable answer")
    prove(variant, folder, arrays)
    stored = {key: mx.array(value) for key, value in arrays.items()}
    mx.save_safetensors(str(folder / "golden.safetensors"), stored, {"seed": str(seed)})
    size = sum(file.stat().st_size for file in folder.iterdir())
    return (f"{variant.name:24} seed {seed:2} deviation {arrays['logits'].std():5.2f} "
            f"lead {lead:.3f} distinct {distinct:2} {size / 1024:6.1f} KiB")


def differences(made: Path, kept: Path) -> list[str]:
    """What differs between two golden folders: weights to the bit, logits to 1e-5 of deviation."""
    out = []
    for file in sorted(made.rglob("*.*")):
        name = file.relative_to(made)
        twin = kept / name
        if not twin.exists():
            out.append(f"{name}: missing")
        elif file.suffix == ".json":
            out += [] if file.read_text() == twin.read_text() else [f"{name}: differs"]
        else:
            out += [f"{name}: {problem}" for problem in tensor_differences(file, twin)]
    surplus = {f.relative_to(kept) for f in kept.rglob("*.*")} - {
        f.relative_to(made) for f in made.rglob("*.*")}
    return out + [f"{name}: nobody makes it" for name in sorted(surplus)]


def tensor_differences(file: Path, twin: Path) -> list[str]:
    a, b = mx.load(str(file)), mx.load(str(twin))
    if a.keys() != b.keys():
        return ["other tensors"]
    out = []
    for key in a:
        if a[key].shape != b[key].shape or a[key].dtype != b[key].dtype:
            out.append(f"{key}: other shape or type")
        elif key == "logits":
            off = float(mx.abs(a[key] - b[key]).max()) / float(mx.std(b[key]))
            out += [f"{key}: off by {off:.1e} deviations"] if off > 1e-5 else []
        elif not mx.array_equal(a[key], b[key], equal_nan=True):
            out.append(f"{key}: other values")
    return out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    if arguments.check and arguments.only:
        parser.error("--check makes all of them")
    mx.set_default_device(mx.cpu)
    chosen = [v for v in variants() if not arguments.only or v.name in arguments.only]
    models = HERE / "models"
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) if arguments.check else models
        for variant in chosen:
            print(make(variant, out), flush=True)
        if arguments.check:
            problems = differences(out, models)
            print("\n".join(problems) or "all as committed")
            sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
