"""The study of reuse keeps what it measures."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import reuse_study
from click.testing import CliRunner

from reuse import figures as of_figures
from reuse import measure as of_measure
from reuse import patterns as of_patterns
from reuse import quantizers as of_quantizers
from reuse import settings as of_settings
from sailsim.workloads.activations import Activations


def run(*arguments):
    return CliRunner().invoke(reuse_study.main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A capture of two blocks and two tokens, cut to few columns."""
    shipped = Activations.load()
    codes = {role: np.ascontiguousarray(a[:2, :2, :130]) for role, a in shipped.codes.items()}
    scales = {role: np.ascontiguousarray(a[:2, :2]) for role, a in shipped.scales.items()}
    path = tmp_path_factory.mktemp("capture") / "tiny.safetensors"
    Activations(shipped.meta, shipped.layers[:2], codes, scales).save(path)
    return path


@pytest.mark.slow
def test_a_run_keeps_tables_and_figures_and_goes_on_from_them(tiny: Path, tmp_path: Path, monkeypatch):
    few = {"BATCHES": (1, 8), "NBWS": (2, 4), "CLAIM_NBWS": (4,), "MODELS": (of_settings.OWN,)}
    for name, values in few.items():
        monkeypatch.setattr(of_settings, name, values)
    quantizers = {name: of_quantizers.QUANTIZERS[name] for name in ("token", "sign_magnitude")}
    for module in (of_quantizers, of_patterns, of_measure, of_figures):
        if hasattr(module, "QUANTIZERS"):
            monkeypatch.setattr(module, "QUANTIZERS", quantizers)
    out = tmp_path / "out"
    result = run("--activations", tiny, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(Activations.load(tiny).id)
    assert json.loads((out / "nearest.json").read_text())["claim"] == 13.8
    for name in of_measure.Reuse.FRAMES:
        assert len(pd.read_csv(out / f"{name}.csv"))
    monkeypatch.setattr(of_measure, "patterns", None)  # would fail if anything were measured again
    monkeypatch.setattr(of_measure, "steps", None)
    monkeypatch.setattr(reuse_study, "write_figures", lambda *_: [])
    assert {path.name for path in out.glob("*.png")} == {f"{name}.png" for name in of_figures.FIGURES}
    again = run("--activations", tiny, "--out", out)
    assert again.exit_code == 0, again.output
    assert "plain sense" in again.stdout
