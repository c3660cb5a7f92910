"""A prompt beside decoding: gem5's steps (`sailsim gem5 decode --linears lutmm --prefill-tokens N`) and the
engine's.

    python research/experiments/mixed_steps.py RECORDS

adds the runs of a folder's records to research/experiments/mixed_steps.csv, with the date, if one is given,
and writes docs/data/mixed-steps.csv.

The engine has the machine around which the program's cores were fitted. That fit has seen
no prompt: what the rows of a pass have in common is that of rows that decode (`fits.json`).
"""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median

from sailsim.sim.backend import Chunk, StepQuery
from sailsim.sim.backends.sail import BACKEND
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.software.records import load_software
from sailsim.sim.study.store import Store
from sailsim.workloads.model_files.load import load_model

HERE = Path(__file__).resolve().parent
KEPT = HERE / "mixed_steps.csv"
FIELDS = (
    *("threads", "batch", "prefill_tokens", "blocks", "context", "weights"),
    *("step_cycles", "prefill_cycles"),
)
PARTS = ("units_cycles", "barrier_cycles", "attention_cycles", "dram_gb_s", "gem5_version", "content", "date")


def kept() -> list[dict[str, str]]:
    """The rows of gem5's steps."""
    return list(csv.DictReader(KEPT.read_text().splitlines()))


def engine(row: dict[str, str]) -> list[float]:
    """Cycles of decoding alone, of the prompt alone, and of both."""
    threads, batch, tokens, blocks, context = (int(row[name]) for name in FIELDS[:5])
    host = load_software("neon").program
    system, model = load_system(host), replace(load_model("smollm2-135m"), extra_params=0)
    model = replace(model, n_layers=blocks or model.n_layers)
    point = Point(
        system=host,
        model="smollm2-135m",
        weights=row["weights"],
        batch=batch,
        threads=threads,
        context=context,
    )
    fmt = point.formats(model)
    asked = StepQuery(
        point, system, model, fmt, "lut-gemv", cores=threads, host_software="neon", prefill="cores"
    )
    decoding, prompt = Chunk(1, context - 1, batch), Chunk(tokens)
    steps = (
        BACKEND.step(replace(asked, chunks=each)) for each in ((decoding,), (prompt,), (decoding, prompt))
    )
    return [step.step_s * system.cores.clock.si for step in steps]


def main() -> None:
    """Keeps what a folder has, and writes all with the engine's."""
    rows = kept()
    if sys.argv[1:]:
        for record in Store(Path(sys.argv[1])).records():
            if record.get("prefill_tokens") and record.get("step_cycles"):
                record = {**record, "date": date.today().isoformat()}
                rows.append({name: str(record[name]) for name in (*FIELDS, *PARTS)})
        with KEPT.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, (*FIELDS, *PARTS), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
    with (HERE.parents[1] / "docs/data/mixed-steps.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        gem5 = "gem5: both", "the prompt in it"
        own = "engine: decoding", "the prompt", "both", "off by"
        out.writerow(("threads", "rows decoding", "tokens of the prompt", "blocks", *gem5, *own))
        errors = []
        for row in rows:
            measured, found = [float(row[name]) for name in FIELDS[-2:]], engine(row)
            errors.append(found[-1] / measured[0] - 1)
            cycles = [f"{each / 1e6:.3g}" for each in measured + found]
            out.writerow((*(row[name] for name in FIELDS[:4]), *cycles, f"{errors[-1]:+.0%}"))
    print(f"median {median(map(abs, errors)):.1%}, worst {max(errors, key=abs):+.1%} of {len(errors)} steps")


if __name__ == "__main__":
    main()
