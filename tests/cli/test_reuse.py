"""`sailsim reuse`: bad input is one sentence; a whole run keeps what it measures."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from sailsim.analysis.render import reuse_figures, reuse_page, reuse_tables
from sailsim.analysis.reuse import measure as of_measure
from sailsim.analysis.reuse import patterns as of_patterns
from sailsim.analysis.reuse import quantizers as of_quantizers
from sailsim.analysis.reuse import settings as of_settings
from sailsim.cli import main
from sailsim.workloads import Activations


def run(*arguments):
    return CliRunner().invoke(main, ["reuse", *map(str, arguments)])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A capture of two blocks and two tokens, cut to few columns."""
    shipped = Activations.load()
    codes = {role: np.ascontiguousarray(a[:2, :2, :130]) for role, a in shipped.codes.items()}
    scales = {role: np.ascontiguousarray(a[:2, :2]) for role, a in shipped.scales.items()}
    path = tmp_path_factory.mktemp("capture") / "tiny.npz"
    Activations(shipped.meta, shipped.layers[:2], codes, scales).save(path)
    return path


@pytest.mark.slow
def test_a_run_keeps_tables_and_figures_and_goes_on_from_them(tiny: Path, tmp_path: Path, monkeypatch):
    few = {"BATCHES": (1, 8), "NBWS": (2, 4), "CLAIM_NBWS": (4,), "MODELS": (of_settings.OWN,)}
    for name, values in few.items():
        monkeypatch.setattr(of_settings, name, values)
    quantizers = {name: of_quantizers.QUANTIZERS[name] for name in ("token", "sign_magnitude")}
    for module in (of_quantizers, of_patterns, of_measure, reuse_tables, reuse_figures):
        if hasattr(module, "QUANTIZERS"):
            monkeypatch.setattr(module, "QUANTIZERS", quantizers)
    out = tmp_path / "out"
    result = run("--activations", tiny, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["activations"] == Activations.load(tiny).id
    assert found["claim"]["claim"] == 13.8
    assert found["claim"] == json.loads((out / "nearest.json").read_text())
    for name in of_measure.Reuse.FRAMES:
        assert len(pd.read_parquet(out / f"{name}.parquet"))
    monkeypatch.setattr(of_measure, "patterns", None)  # would fail if anything were measured again
    monkeypatch.setattr(of_measure, "steps", None)
    monkeypatch.setattr(reuse_page, "write_figures", lambda *_: [])
    assert {path.name for path in out.glob("*.png")} == {f"{name}.png" for name in reuse_page.FIGURES}
    again = run("--activations", tiny, "--out", out)
    assert again.exit_code == 0, again.output
    assert "plain sense" in again.stdout


def test_bad_input_is_one_sentence(tmp_path: Path):
    result = run("--activations", tmp_path / "none.npz")
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "cannot be read" in result.stderr
    result = run("--docs", tmp_path)
    assert result.exit_code == 2
    assert "allowed is a folder that holds reuse.md" in result.stderr
