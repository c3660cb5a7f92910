"""`sailsim gem5 sweep` of a model's own formats, with a stand-in for gem5."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sailsim.cli import main
from sailsim.sim.gem5.binary import VARIABLE
from sailsim.sim.study.folder import Store
from sailsim.workloads.formats import TENSOR_FORMATS

from ..workloads.conftest import write_tiny_gguf


@pytest.fixture(autouse=True)
def stand_in(fake_gem5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(fake_gem5))
    monkeypatch.delenv("FAKE_GEM5", raising=False)


def sweep(*words: object) -> Result:
    return CliRunner().invoke(main, ["gem5", "sweep", *map(str, words)])


def refused(*words: object) -> str:
    result = sweep(*words)
    assert result.exit_code == 2, result.output
    (sentence,) = result.stderr.splitlines()
    return sentence


@pytest.fixture
def tiny_models(tmp_path: Path) -> dict[str, Path]:
    kinds = {kind: tmp_path / f"{kind}.gguf" for kind in ("Q8_0", "Q4_1", "MXFP4")}
    for kind, path in kinds.items():
        write_tiny_gguf(path, kind=kind)
    return kinds


@pytest.mark.slow
def test_the_tiles_of_a_sweep_are_those_of_the_models_formats(
    tmp_path: Path, tiny_models: dict[str, Path]
) -> None:
    few = ["--nbw", "3", "--batch", "1", "--tensor", "blk.1.ffn_down"]
    assert "allowed are blk.0.attn_q" in refused("--model", tiny_models["MXFP4"], *few)
    few[-1] = "blk.0.ffn_down"
    for kind, path in tiny_models.items():
        out = tmp_path / kind
        told = sweep("--model", path, *few, "--out", out).stdout
        assert told.startswith(f"blk.0.ffn_down of {path} as {kind.lower()}\n")
        frame = Store(out).frame()
        own = TENSOR_FORMATS[kind.lower()]
        assert set(
            zip(frame["weights"], frame["type"], frame["wbits"], frame["group_size"], strict=True)
        ) == {("file", own.name, own.wbits, own.group_size)}
        assert set(frame["slices"]) == {1, 32}  # their widths are among those of `--whole`
    out = tmp_path / "several"
    words = ["--model", "smollm2-135m", *few, "--weights", "q4_k_m,3g64,mxfp4", "--whole", "0"]
    told = json.loads(sweep(*words, "--out", out, "--json").stdout)
    assert told["types"] == ["q6_k", "w3g64", "mxfp4"]
    frame = Store(out).frame().set_index("type")
    assert list(frame.loc[told["types"], "weights"]) == ["q4_k_m", "", "mxfp4"]
    assert len(set(frame["engine_cycles"])) == 3


def test_nbw_may_be_each_tiles_own(tmp_path: Path) -> None:
    words = ["--model", "smollm2-135m", "--weights", "1g0,8g32", "--nbw", "1:6,auto", "--batch", "4"]
    sweep(*words, "--whole", "0", "--out", tmp_path)
    frame = Store(tmp_path).frame()
    for _, own in frame.groupby("type"):
        (chosen,) = own[own["nbw_chosen"]].to_dict("records")
        fixed = own[~own["nbw_chosen"]].set_index("nbw")["unhindered_cycles"]
        assert sorted(fixed.index) == [1, 2, 3, 4, 5, 6]
        assert fixed[chosen["nbw"]] == fixed.min()
    assert "nbw is '7,best'" in refused("--nbw", "7,best", "--out", tmp_path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--weights", "q4_k_m", "--wbits", "4"), "allowed is one of the two"),
        (("--weights", "4g32,f16"), "blk.0.attn_q is f16: no scalar codes"),
        (("--weights", "file"), "weights is 'file', but model llama-2-7b is no GGUF file"),
        (("--group-size", "32,64"), "group_size is a list"),
    ],
)
def test_formats_that_no_tile_has_are_one_sentence(
    tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    assert sentence in refused(*words, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
