"""Quality as a study: what a record says, what it is compared with, and that it goes on where it stopped."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sailsim.analysis.runs.columns import columns_of
from sailsim.analysis.studies import quality_study as quality
from sailsim.analysis.studies.quality_study import (
    QualityPoint,
    measure_quality,
    points,
    quality_record,
    with_losses,
)
from sailsim.base.errors import SailsimError
from sailsim.cli import main
from sailsim.sim.study.store import RESERVED, Store
from sailsim.workloads.inference.capture import default_gguf
from sailsim.workloads.inference.perplexity import float_predictions, text_chunks, unit_predictions
from sailsim.workloads.model_files.gguf_model import open_gguf

from ...workloads.conftest import write_tiny_gguf

WORDS = "the cat sat on a mat, and the dog ran off. " * 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("quality")
    write_tiny_gguf(found / "m.gguf")
    (found / "text.txt").write_text(WORDS)
    return found


def few(folder: Path, **axes: object) -> list[QualityPoint]:
    return points(folder / "m.gguf", text=str(folder / "text.txt"), chunks=4, length=20, **axes)  # type: ignore[arg-type]


def test_records_have_the_columns_of_the_dictionary_and_a_loss(folder: Path, tmp_path: Path) -> None:
    found = measure_quality(few(folder, weights=["file", "2g32"]), tmp_path)
    stored = Store(tmp_path).frame()
    assert {*stored.columns} == {column.name for column in columns_of("quality")}
    assert {*RESERVED} <= {*stored.columns}
    floats, own, narrow = (row for _, row in found.iterrows())
    assert (floats.weights, floats.loss, floats.agreement) == ("float", 0, 1)
    assert abs(own.loss) < abs(narrow.loss)
    assert own.agreement > narrow.agreement
    assert own.tokens == 4 * 19 == len(own.top_tokens)
    assert own.bits_per_weight > narrow.bits_per_weight


def test_perplexity_and_its_error_are_those_of_the_chunks(folder: Path) -> None:
    row = quality_record(1, few(folder)[0])
    nll = np.asarray(row["chunk_nll"])
    assert row["perplexity"] == pytest.approx(np.exp(nll.mean()))
    error = np.sqrt(((nll - nll.mean()) ** 2).sum() / 3 / 4)
    assert row["perplexity_error"] == pytest.approx(row["perplexity"] * error)
    model = open_gguf(folder / "m.gguf")
    again = float_predictions(model, text_chunks(model, WORDS, 4, 20))
    assert again.nll.mean(axis=1).tolist() == row["chunk_nll"]


def test_the_loss_of_a_token_is_that_of_its_own_logits(folder: Path) -> None:
    from sailsim.workloads.inference.decoder import Decoder, LinearLayers

    model = open_gguf(folder / "m.gguf")
    tokens = text_chunks(model, WORDS, 2, 6)
    found = float_predictions(model, tokens)
    logits = Decoder(model, LinearLayers(model)).after(tokens[1, :3].tolist()).astype(np.float64)
    assert found.nll[1, 2] == pytest.approx(np.log(np.exp(logits).sum()) - logits[tokens[1, 3]], rel=1e-4)
    assert found.top[1, 2] == logits.argmax()


def test_records_without_floats_beside_them_are_refused(folder: Path, tmp_path: Path) -> None:
    frame = measure_quality(few(folder), tmp_path)
    with pytest.raises(SailsimError, match="has none in floats with it"):
        with_losses(frame[frame.weights == "file"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--abits", "1"], "abits is 1; allowed is 2..16"),
        (["--kv-bits", "9"], "kv_bits is 9; allowed is 2..8, or 16"),
        (["--method", "best"], "method is 'best'; allowed is nearest or compensated"),
        (["--weights", "q7"], "weights is 'q7'"),
        (["--chunks", "1"], "chunks is 1; allowed is 2..4096"),
        (["--length", "5000"], "length is 5000; allowed is 2..2048"),
        (["--chunks", "400"], "tokens; allowed is at least 400 chunks of 20"),
    ],
)
def test_what_is_out_of_range_ends_before_anything_is_measured(
    folder: Path, words: list[str], sentence: str
) -> None:
    asked = ["quality", str(folder / "m.gguf"), "--text", str(folder / "text.txt"), "--length", "20", *words]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 2
    assert sentence in result.stderr.replace("\n", " ")


def test_the_command_prints_the_rows_and_what_must_be_said(folder: Path) -> None:
    asked = ["quality", str(folder / "m.gguf"), "--text", str(folder / "text.txt"), "--chunks", "2"]
    asked += ["--length", "20", "--weights", "file,4g32", "--abits", "4,8"]
    shown = CliRunner().invoke(main, asked)
    assert shown.exit_code == 0
    assert "other widths show what rounding those values again loses" in shown.stdout
    answer = json.loads(CliRunner().invoke(main, [*asked, "--json"]).stdout)
    assert [(row["weights"], row["abits"]) for row in answer["records"]] == [
        ("float", 0), ("file", 4), ("file", 8), ("4g32", 4), ("4g32", 8),
    ]  # fmt: skip
    assert answer["note"].startswith("The file itself has q4_0 15 tensors")


def test_a_text_that_changes_meanwhile_ends_the_study_and_stores_nothing_of_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(WORDS)
    asked = points(folder / "m.gguf", text=str(text), chunks=4, length=20)

    def edited(threads: int, point: QualityPoint) -> dict[str, object]:
        text.write_text(WORDS.replace("cat", "cow"))
        return quality_record(threads, point)

    monkeypatch.setattr(quality, "quality_record", edited)
    with pytest.raises(SailsimError, match=r"text\.txt changed while the study ran"):
        measure_quality(asked, tmp_path / "out")
    assert not Store(tmp_path / "out").keys()


def test_compensated_codes_are_made_for_the_inputs_of_another_text(folder: Path) -> None:
    model = open_gguf(folder / "m.gguf")
    from sailsim.workloads.models.formats import uniform_format

    tokens, other = text_chunks(model, WORDS, 2, 20), text_chunks(model, WORDS[::-1], 6, 20)
    ways = [
        unit_predictions(model, tokens, uniform_format(2, 32), abits=8, method=method, calibration=other)
        for method in ("nearest", "compensated")
    ]
    assert ways[0].nll.shape == ways[1].nll.shape == (2, 19)
    assert not np.array_equal(ways[0].nll, ways[1].nll)
    with pytest.raises(SailsimError, match="compensation needs them"):
        unit_predictions(model, tokens, uniform_format(2, 32), method="compensated")


@pytest.mark.slow
def test_the_real_model_loses_little_with_its_own_weights() -> None:
    found = measure_quality(points(default_gguf(), chunks=2, length=64))
    assert abs(found.loss.iloc[1]) < 0.1
    assert found.agreement.iloc[1] > 0.8
