"""Every constant of the package says where it is from: those of modules and of data files."""

import ast
import csv
import importlib
import json
import pkgutil
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sailsim.base.quantity import Quantity
from sailsim.sim.machine.system_files import gpu_names, load_gpu, load_system, system_names
from sailsim.sim.software.fitted import core_of, fitted_constants

ROOT = Path(__file__).parents[1]
FOLDERS = ("analysis", "workloads", "lut_gemv", "sailsim")
PARTS = ("cli", "analysis", "sim", "workloads", "lut_gemv")
KINDS = {"measured", "synthesised", "paper", "derived", "fitted", "assumed"}
HERE = "here"
"""What a source may be besides a citation: derived or assumed in this project, as the note says."""


def complaint(said: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> str | None:
    """What a constant lacks, or None. ``said``: source, kind, low, high, note of a constant; ``sources``: the
    citations that its file has by key."""
    source = str(said.get("source") or "").strip()
    kind = said.get("kind")
    if not source:
        return "no source"
    if source != HERE and " " not in source and source not in (sources or {}):
        return f"source {source!r} is no citation and no key of one"
    if kind not in KINDS:
        return f"kind {kind!r}"
    numeric = not isinstance(said.get("value"), str | bool)
    if kind in ("assumed", "fitted") and numeric and None in (said.get("low"), said.get("high")):
        return f"{kind} without a range"
    if (kind == "assumed" or source == HERE) and not str(said.get("note") or "").strip():
        return "no reason in the note"
    return None


def in_modules() -> dict[str, Quantity]:
    """Every quantity that a module of the package has a name for."""
    # By name: where the install is editable not every version of it lists the parts below the package.
    parts = [importlib.import_module(f"sailsim.{part}") for part in PARTS]
    modules = [m.name for part in parts for m in pkgutil.walk_packages(part.__path__, f"{part.__name__}.")]
    return {
        f"{module}.{name}": value
        for module in modules
        for name, value in vars(importlib.import_module(module)).items()
        if isinstance(value, Quantity)
    }


def tables(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every table of a TOML or JSON file, by its path within."""

    def within(name: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(value, dict):
            yield name, value
            for key, item in value.items():
                yield from within(f"{name}.{key}", item)
        elif isinstance(value, list):
            for i, item in enumerate(value):
                yield from within(f"{name}[{i}]", item)

    text = path.read_text("utf-8")
    yield from within(path.name, tomllib.loads(text) if path.suffix == ".toml" else json.loads(text))


def data_files(suffix: str) -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob(f"*{suffix}"))


def test_the_check_finds_what_is_missing():
    good = Quantity(value=1, unit="W", source="a book, page 3", kind="paper")
    assert complaint(good.model_dump()) is None
    assert complaint(good.model_copy(update={"source": " "}).model_dump()) == "no source"
    assert "no citation" in complaint(good.model_copy(update={"source": "bk"}).model_dump())
    assert complaint(good.model_copy(update={"source": "bk"}).model_dump(), {"bk": "a book"}) is None
    assert "kind" in complaint(good.model_copy(update={"kind": "guess"}).model_dump())
    assert "range" in complaint(good.model_copy(update={"kind": "fitted"}).model_dump())
    assert "reason" in complaint(good.model_copy(update={"source": HERE}).model_dump())


def test_constants_of_modules_have_sources():
    lacking = {name: complaint(quantity.model_dump()) for name, quantity in in_modules().items()}
    assert lacking
    assert not {name: what for name, what in lacking.items() if what}


@pytest.mark.parametrize("name", system_names())
def test_cores_beside_units_have_the_constants_that_the_cores_alone_have(name):
    """A server's file and `fits.json` say the same of its software, to the last digit."""
    system = load_system(name)
    software = {"fit": "llama.cpp", "fork": "ampere"}.get(system.host.attention_rate.source)
    if software is None or system.host.program is not None:
        pytest.skip("constants of another program")
    fit = fitted_constants().software(software, core_of(system))
    said = {
        "attention_rate": system.host.attention_rate.value,
        "barrier": system.host.barrier.value,
        "read_share": system.memory.core_share.value / system.memory.read_share.value,
    }
    if software == "llama.cpp":
        said["product_overhead"] = system.host.product_overhead.value
    assert said == pytest.approx({constant: fit.value(constant) for constant in said}, rel=1e-12)


@pytest.mark.parametrize("path", [*data_files(".toml"), *data_files(".json")], ids=lambda path: path.name)
def test_constants_of_data_files_have_sources(path):
    found = list(tables(path))
    sources = found[0][1].get("sources", {})
    if path.parent.name == "systems":  # what a file extends may hold the citations
        sources = (load_gpu if path.stem in gpu_names() else load_system)(path.stem).sources
    lacking = {
        name: complaint(table, sources) for name, table in found if "value" in table and "kind" in table
    }
    assert not {name: what for name, what in lacking.items() if what}


@pytest.mark.parametrize("path", data_files(".csv"), ids=lambda path: path.name)
def test_tables_of_numbers_have_sources(path):
    lines = path.read_text("utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if line.strip() and not line.startswith("#")))
    assert rows
    if "source" in rows[0]:
        assert all((row["source"] or "").strip() for row in rows)
    else:  # one sentence above the table serves them all
        assert " " in lines[0].lstrip("# ")
        assert lines[0].startswith("#")


def test_bare_numbers_of_modules_are_explained():
    """A broken number bound to a name at the top of a module has a sentence beside it."""
    lacking = []
    for folder in ("analysis", "sailsim/sim", "workloads", "lut_gemv"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text("utf-8")
            body, lines = ast.parse(text).body, text.splitlines()
            for statement, after in zip(body, [*body[1:], None], strict=True):
                if not isinstance(statement, ast.Assign | ast.AnnAssign):
                    continue
                if not isinstance(statement.value, ast.Constant) or not isinstance(
                    statement.value.value, float
                ):
                    continue
                said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                beside = "#" in lines[statement.lineno - 1] or lines[statement.lineno - 2].startswith("#")
                if not (said or beside):
                    lacking.append(f"{path.name}:{statement.lineno}")
    assert not lacking
