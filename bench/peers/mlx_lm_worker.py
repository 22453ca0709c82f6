"""mlx-lm behind the bench's requests: a JSON request a line in, its reply a line out.

mlx_lm_worker.py FILE.gguf GOLDEN: GOLDEN is test/golden, whose converter is used.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import gguf
import mlx.core as mx
from mlx_lm.generate import generate_step
from mlx_lm.utils import load_model

sys.path.insert(0, sys.argv[2])
from gguf_models import config_of, convert  # noqa: E402


def load(file: str):
    mx.set_default_device(mx.cpu)
    reader = gguf.GGUFReader(file)
    with tempfile.TemporaryDirectory() as folder:
        convert(reader, config_of(reader), Path(folder))
        model, _ = load_model(Path(folder))
        model.set_dtype(mx.float32)
        mx.eval(model.parameters())
    return model


def generate(model, ids: list[int], count: int) -> dict:
    """Greedy tokens and the milliseconds at which they came."""
    start = time.perf_counter()
    tokens, times = [], []
    for token, _ in generate_step(mx.array(ids), model, max_tokens=count):
        tokens.append(int(token))
        times.append(1000 * (time.perf_counter() - start))
    return {"ids": tokens, "promptMs": times[0], "generateMs": times[-1] - times[0],
            "times": [times]}


def main() -> None:
    model = load(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = generate(model, request["ids"], request["maxTokens"])
        except Exception as error:  # any failure is the reply, and the next request may do
            reply = {"error": {"code": "mlx_lm", "message": repr(error)}}
        print(json.dumps({"id": request["id"], **reply}), flush=True)


main()
