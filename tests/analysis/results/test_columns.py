"""The dictionary of columns and what commands store: neither has a name that the other lacks."""

import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from reuse import settings
from reuse.cycles import partial_tables, steps
from reuse.patterns import patterns, structure
from sailsim.analysis.results.columns import column_of, columns_of, groups, in_order, no_column
from sailsim.analysis.results.folder import Results
from sailsim.analysis.results.joins import JOINED
from sailsim.analysis.results.runs import COLUMNS
from sailsim.base.atomic import read_records
from sailsim.cli import main
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.tile import Tile
from sailsim.lut_gemv.trace import write_trace
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import VARIABLE
from sailsim.sim.point import Point
from sailsim.sim.study.chunks import RESERVED
from sailsim.sim.study.folder import Store
from sailsim.sim.sweep import run_sweep
from sailsim.sim.vary import leaves
from sailsim.workloads.activations import Activations

from ...cli.gem5_stand_in import elf

ROOT = Path(__file__).parents[3]
UNITS = {"", "W", "bits", "tokens", "B", "s", "J", "x", "USD", "mm2", "ps", "cycles", "GB/s", "1/s"}
UNITS |= {f"tokens/{per}" for per in ("s", "J", "USD")} | {"USD/h"}


def same(kind: str, written: Iterable[str]) -> None:
    """The columns of a kind of study are these, and each pattern of the dictionary has one at least."""
    names = {*written, *RESERVED}
    own = [
        column for group in groups() if not group.studies or kind in group.studies for column in group.columns
    ]
    assert [name for name in sorted(names) if not any(column.names(name) for column in own)] == []
    assert [column.name for column in own if not any(map(column.names, names))] == []


def test_every_entry_says_something() -> None:
    for group in groups():
        assert group.title
        assert group.about.endswith(".")
        for column in group.columns:
            assert column.words[0].islower() or column.words.split()[0].isupper() or column.words[:4] in (
                "SAIL", "NBW ", "PIM ",
            ), column  # fmt: skip
            assert column.meaning
            assert not column.meaning.endswith(".")
            assert column.unit in UNITS, column
    for kind in ("sweep", "gem5", "reuse", "claims reproduce", "claims explore"):
        names = [column.name for column in columns_of(kind)]
        assert len(set(names)) == len(names)
        assert set(RESERVED) <= set(names)


def test_of_a_sweep(tmp_path: Path) -> None:
    store = run_sweep([Point(model="smollm2-135m", context=64)], evaluated, tmp_path, progress=False)
    frame = Results(tmp_path).frame()
    assert list(frame) == [*COLUMNS, *RESERVED]
    assert set(store.frame()) == set(frame)
    # A swept field of the machine is a column under its name.
    same("sweep", [*frame, *JOINED, "pim.slices"])
    assert {column_of(path, "sweep").words for path in leaves(load_system("sail-n1"))} == {
        "a field of the machine"
    }
    assert column_of("wbits", "sweep").label == "bits of a weight (bits)"


def evaluated(point: Point) -> list[dict[str, object]]:
    from sailsim.analysis.results.runs import evaluate

    return evaluate(point)


@given(st.randoms(use_true_random=False), st.lists(st.text("abc.", min_size=1), unique=True))
def test_the_order_is_always_the_same(shuffler: random.Random, own: list[str]) -> None:
    own = [f"own {name}" for name in own]
    names = [*COLUMNS, "pim.slices", *RESERVED]
    shuffler.shuffle(names)
    at = COLUMNS.index("activations") + 1
    wanted = [*COLUMNS[:at], "pim.slices", *COLUMNS[at:], *own, *RESERVED]
    mixed = [*names[:7], *own, *names[7:]]
    assert in_order(mixed, "sweep") == wanted


@pytest.mark.slow
def test_of_gem5(fake_gem5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(fake_gem5))
    monkeypatch.delenv("FAKE_GEM5", raising=False)
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    for name in ("pointer_chase", "bandwidth", "decode"):
        elf(kernels / name)
    trace = tmp_path / "one.trace"
    x, codes = np.ones((1, 8), np.int8), np.ones((8, 4), np.uint8)
    write_trace(trace, [Tile(x=x, codes=codes, code=WeightCode.twos(4), abits=8, nbw=4)])
    small = ["--model", "smollm2-135m", "--group-size", "32", "--wbits", "4", "--nbw", "4", "--batch", "1"]
    for words in (
        ["sweep", *small, "--whole", "8"],
        ["validate", "--kernels", str(kernels)],
        ["run", "--", str(kernels / "bandwidth")],
        ["replay", str(trace), "--units", "1"],
        ["decode", "--model", "smollm2-135m", "--blocks", "1", "--program", str(kernels / "decode")],
    ):
        at = words.index("--") if "--" in words else len(words)
        CliRunner().invoke(main, ["gem5", *words[:at], "--out", str(tmp_path / "out"), *words[at:]])
    store = Store(tmp_path / "out")
    names = set(store.everything().column_names)
    assert {"tile", "validate", "latencies", "measure", "run", "replay", "decode"} == set(
        store.frame()["command"]
    )
    shipped = read_records(ROOT / "analysis/data/gem5/tiles.jsonl")["tiles"]
    # Of real runs alone: gem5's own statistics; and of runs that were stopped.
    real = {"core_cycles", "dram_bytesWritten", "timeout_s", "reason"}
    # Of prompts alone.
    real |= {"model_tokens", "logit_difference", "logit_largest"}
    same("gem5", names | set(shipped[0]) | real)


def test_of_reuse(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, values in {"BATCHES": (1,), "NBWS": (2,), "CLAIM_NBWS": (4,)}.items():
        monkeypatch.setattr(settings, name, values)
    shipped = Activations.load()
    codes = {role: np.ascontiguousarray(a[:2, :2, :130]) for role, a in shipped.codes.items()}
    scales = {role: np.ascontiguousarray(a[:2, :2]) for role, a in shipped.scales.items()}
    tiny = Activations(shipped.meta, shipped.layers[:2], codes, scales)
    frames = [patterns(tiny, "token", 1), structure(tiny), partial_tables(shipped)]
    frames.append(steps(shipped, settings.OWN, 1))
    same("reuse", {str(name) for frame in frames for name in frame})


def test_of_reproduce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("SALib")
    from sailsim.analysis.paper import nearest, reproduce

    from ..paper.test_reproduce import PAPER, small

    reproduce.Study(small(), 4, 0).run(tmp_path, progress=False)
    monkeypatch.setattr(nearest, "nearest", lambda space, claim: {})
    monkeypatch.setattr(reproduce, "screen", lambda space: (frozenset(), frozenset()))
    beside = {*nearest._nearest(small(), PAPER.claim[0]), *reproduce._screening(small())}
    same("claims reproduce", {*Results(tmp_path).frame(), *beside})


def test_of_joint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sailsim.analysis.paper import joint
    from sailsim.analysis.paper.nearest import Search

    from ..paper.test_joint import DECLARED, small

    joint.Draw(small(), "sail", 64, 0).run(tmp_path, progress=False)
    monkeypatch.setattr(Search, "run", lambda search, start: start)
    search = joint._nearest(small(), DECLARED, ("nominal", {}))
    same("claims joint", {*Results(tmp_path).frame(), *search})


@pytest.mark.slow
def test_of_explore(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    from sailsim.analysis.paper.explore import explore

    from ..paper.test_explore import SEARCH

    trials = explore(SEARCH, tmp_path, samples=3, progress=False)
    frame = Results(tmp_path).frame()
    same("claims explore", frame)
    both = [name for name in trials if name in frame and name != "reason"]
    assert set(SEARCH.fields) | {"threads", "tokens_per_s"} <= set(both)
    assert (frame[both].sort_values(both).to_numpy() == trials[both].sort_values(both).to_numpy()).all()


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    assert "near are tokens_per_s" in str(no_column("token_per_s", COLUMNS))
    assert "near are usd_per_hour" in str(no_column("hour", JOINED))
    assert "allowed are a, b." in str(no_column("zzz", ["a", "b"]))
