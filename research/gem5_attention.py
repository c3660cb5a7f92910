"""Attention on cores and units in gem5, and the engine beside it: analysis/data/gem5/decode_attention.jsonl.

python research/gem5_attention.py FOLDER ... [--build TEXT] [--out FILE]

A folder holds runs of `sailsim gem5 decode`; of programs that answer the same the last one counts. Of each
run with PIM units the engine (`sail-n1-neon-host`) says the step of as many blocks as were run, and what
attention, the rotation and the writing of the cache add to it: the step less that without these operations.
In gem5 they are the regions `rope` and `attention`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
from gem5_data import DATA, origin
from records import to_lines

from sailsim.analysis.results.gem5_steps import HOST, shape
from sailsim.base.atomic import write_whole
from sailsim.sim import step_parts
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.decode import DecodePoint
from sailsim.sim.gem5.stored import DECODE
from sailsim.sim.point import Point
from sailsim.sim.study.folder import Store
from sailsim.workloads.load import load_model
from sailsim.workloads.model import ModelSpec


def engine(row: Mapping[str, Any]) -> dict[str, float]:
    """Cycles of the cores: of the step, and what attention and the rotation add."""
    system, spec = load_system(HOST), load_model(shape(row))
    spec = replace(spec, n_layers=row["blocks"] or spec.n_layers, extra_params=0)
    bits = 0 if row["cache"] == "fp16" else int(row["cache"][-1])
    same = {name: row[name] for name in ("weights", "nbw", "batch", "threads", "context", "attention")}
    point = Point(system=HOST, model=shape(row), kv_bits=bits, **same)

    def cycles(of: ModelSpec) -> float:
        return float(simulate_step(system, of, point).step_s * system.cores.clock.si)

    ops = step_parts.mixed_step
    whole = cycles(spec)
    with patch.object(
        step_parts,
        "mixed_step",
        lambda *asked: [op for op in ops(*asked) if op.kind != "attention" and not op.name.endswith("rope")],
    ):
        rest = cycles(replace(spec, title="without attention"))  # parts of a step are kept by their model
    return {"engine_cycles": round(whole), "engine_attention_cycles": round(whole - rest)}


@click.command(help=__doc__)
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--build", default="", help="How gem5 was built, in words.")
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "gem5" / "decode_attention.jsonl")
def main(folders: tuple[Path, ...], build: str, out: Path) -> None:
    """Collect the runs and tell how far the engine is from them."""
    rows, asked = [], dict[tuple[Any, ...], Mapping[str, Any]]()
    for row in (row for folder in folders for row in Store(folder).records()):
        if row["command"] == DECODE and row.get("step_cycles") is not None:
            asked[tuple(row[name] for name in DecodePoint.__dataclass_fields__)] = row
    for row in asked.values():
        kept = {name: value for name, value in row.items() if value is not None}
        kept |= {"model": Path(row["model"]).name, "folder": None}
        if row["pim"]:
            kept |= engine(kept)
            step = kept["engine_cycles"] / kept["step_cycles"] - 1
            part = kept["engine_attention_cycles"] / (kept["rope_cycles"] + kept["attention_cycles"]) - 1
            named = (kept["model"], kept["threads"], kept["batch"], kept["context"], kept["attention"])
            click.echo(f"{named}: {kept['step_cycles']:,} cycles, engine {step:+.1%}; attention {part:+.1%}")
        rows.append(kept)
    gem5 = Gem5()
    run = {"gem5": gem5.version, **origin(gem5, build, "sailsim gem5 decode, and research/gem5_attention.py")}
    write_whole(out, to_lines({"run": run, "rows": rows}).encode())


if __name__ == "__main__":
    main()
