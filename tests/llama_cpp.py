"""llama.cpp as the package xllamacpp has it, in a process of its own: it prints, and has threads."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

MISSING = "xllamacpp is not installed (pip install xllamacpp)"
_SERVER = """
import json, sys, time, xllamacpp
asked = json.loads(sys.argv[2])
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.warmup = sys.argv[1], 128, asked.pop("warmup")
params.cpuparams.n_threads = 1
server = xllamacpp.Server(params)
began = time.process_time()
answer = server.handle_completions(asked)
answer["processor_s"] = time.process_time() - began
json.dump(answer, open(sys.argv[3], "w"))
"""


def completed(path: Path, prompt: list[int], new: int, warmup: bool = False, likely: int = 0) -> Any:
    """llama.cpp's answer to a prompt, on one thread: greedy tokens, each with the most likely ones; and
    ``processor_s``, the processor's time that it took."""
    asked = {"prompt": prompt, "temperature": 0, "max_tokens": new, "warmup": warmup}
    if likely:
        asked["logprobs"] = likely
    with TemporaryDirectory() as folder:
        out = Path(folder) / "answer.json"
        words = [str(path), json.dumps(asked), str(out)]
        subprocess.run([sys.executable, "-c", _SERVER, *words], check=True, capture_output=True)
        return json.loads(out.read_text("utf-8"))
