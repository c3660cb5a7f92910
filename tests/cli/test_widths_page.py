"""Files of one shape in three formats, as docs/widths.md shows them."""

import re
from pathlib import Path

import pytest

from ..transcripts import output
from ..workloads.conftest import write_shaped_gguf


@pytest.mark.slow
def test_three_files_of_one_shape_have_three_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("q8_0", "q2_k", "mxfp4"):
        write_shaped_gguf(tmp_path / f"{name}.gguf", name)
    told = {name: output(f"sailsim run --model {name}.gguf") for name in ("q8_0", "q2_k", "mxfp4")}
    first = {name: " ".join(text.split("\n\n")[0].split()) for name, text in told.items()}
    assert "(q8_0 29 tensors)" in first["q8_0"]
    assert "(q2_k 16 tensors, q6_k 1, q3_k 8, q4_k 4)" in first["q2_k"]
    assert "(mxfp4 29 tensors)" in first["mxfp4"]
    for runner in ("SAIL", "cores, llama.cpp", "V100"):
        rates = {re.search(rf"^ {runner} +(\S+)", text, re.MULTILINE)[1] for text in told.values()}
        assert len(rates) == 3, runner
    uniform = {output(f"sailsim run --model {name}.gguf --weights 4g32 | grep SAIL") for name in told}
    assert len(uniform) == 1
