"""A prompt beside decoding: gem5's steps (`sailsim gem5 decode --linears lutmm --beside N`) and the engine's.

    python research/beside.py RECORDS

adds the runs of a folder's records to research/beside.csv, if one is given, and writes docs/data/beside.csv.

The engine has the machine around which the program's cores were fitted (`SIMULATED_HOST`). Its prompts go at
the rate at which these kernels decode, which nobody measured for prompts; what it shares between the two is
what `--prefill cores` shares.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path

import sailsim.sim.backends.sail as sail
from sailsim.sim.backend import Piece, Request
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.fitted import SIMULATED_HOST
from sailsim.sim.point import Point
from sailsim.sim.schedule import HostCores
from sailsim.sim.study.folder import Store
from sailsim.workloads.load import load_model

HERE = Path(__file__).resolve().parent
KEPT = HERE / "beside.csv"
FIELDS = ("threads", "batch", "beside", "blocks", "context", "weights", "step_cycles", "beside_cycles")
PARTS = ("units_cycles", "barrier_cycles", "attention_cycles", "dram_gb_s", "gem5_version", "content")


def engine(row: dict[str, str]) -> tuple[float, float, float, float]:
    """Cycles of decoding alone, of the prompt alone, of both, and of both if the prompt's are gem5's."""
    threads, batch, tokens = (int(row[name]) for name in ("threads", "batch", "beside"))
    system, model = load_system(SIMULATED_HOST), replace(load_model("smollm2-135m"), extra_params=0)
    ahead = {"prefetch_depth": system.require_pim().prefetch_depth}
    pim = load_system("sail-n1").require_pim().model_copy(update=ahead)
    system = system.model_copy(update={"pim": pim})
    model = replace(model, n_layers=int(row["blocks"]) or model.n_layers)
    context = int(row["context"])
    point = Point(
        system=SIMULATED_HOST,
        model="smollm2-135m",
        weights=row["weights"],
        batch=batch,
        threads=threads,
        context=context,
    )
    asked = Request(
        point, system, model, point.formats(model), "lut-gemv", cores=threads, around="neon", prefill="cores"
    )
    tasks = list(sail.prompt_tasks(asked, HostCores(system, threads), (Piece(tokens),)))
    prompt = sum(task.seconds for task in tasks)
    clock, decoding = system.cores.clock.si, (Piece(1, context - 1, batch),)
    measured = float(row["beside_cycles"]) / clock / prompt
    scaled = [task._replace(seconds=task.seconds * measured) for task in tasks]
    alone = simulate_step(system, model, point).step_s
    both = [
        simulate_step(system, model, point, pieces=decoding, beside=each).step_s for each in (tasks, scaled)
    ]
    return alone * clock, prompt * clock, both[0] * clock, both[1] * clock


def main() -> None:
    """Keeps what a folder has, and writes all with the engine's."""
    sail.without_prompts = lambda software: None
    rows = list(csv.DictReader(KEPT.read_text().splitlines())) if KEPT.is_file() else []
    if sys.argv[1:]:
        for record in Store(Path(sys.argv[1])).records():
            if record.get("beside") and record.get("step_cycles"):
                rows.append({name: str(record[name]) for name in (*FIELDS, *PARTS)})
        with KEPT.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, (*FIELDS, *PARTS), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
    with (HERE.parent / "docs/data/beside.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        gem5 = "gem5: both", "the prompt in it"
        own = "engine: decoding", "the prompt", "both", "off by", "with gem5's prompt", "then off by"
        out.writerow(("threads", "rows decoding", "tokens of the prompt", "blocks", *gem5, *own))
        for row in rows:
            decoding, prompt, *both = engine(row)
            step, beside = float(row["step_cycles"]), float(row["beside_cycles"])
            cycles = [f"{each / 1e6:.3g}" for each in (step, beside, decoding, prompt)]
            found = [word for each in both for word in (f"{each / 1e6:.3g}", f"{each / step - 1:+.0%}")]
            out.writerow((*(row[name] for name in FIELDS[:4]), *cycles, *found))


if __name__ == "__main__":
    main()
