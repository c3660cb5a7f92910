"""A real model decodes: SmolLM2 under emulation, by all three kinds of products, against the NumPy path."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sailsim.sim.gem5.decode import DecodePoint, against_model
from sailsim.workloads.images.image_file import plan_image
from sailsim.workloads.inference.decoder import Decoder, LinearLayers
from sailsim.workloads.inference.tokenizer import Tokenizer
from sailsim.workloads.model_files.gguf_model import open_gguf

from .conftest import Report
from .test_decode import checked_against_numpy

pytestmark = [pytest.mark.aarch64, pytest.mark.slow]

STEPS = 17


@pytest.fixture(scope="module")
def image(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 in all layouts, with the codes of its file."""
    path = tmp_path_factory.mktemp("smollm2") / "smollm2.image"
    plan = plan_image(smollm2_path)
    assert plan.about["weights"] == {"stored q4_1 codes": 210, "stored q8_0 codes": 1}
    plan.write(path)
    return path


@pytest.fixture(scope="module")
def prompt(smollm2_path: Path) -> list[int]:
    return Tokenizer(open_gguf(smollm2_path)).encode("The capital of France is")


def test_paris_and_sixteen_more_tokens_are_those_of_numpy(
    report: Report, smollm2_path: Path, image: Path, prompt: list[int], tmp_path: Path
) -> None:
    """NumPy's logits and tokens, bit for bit; each activation is what NumPy's number rounds to."""
    options = ("--image", image, "--prompt", ",".join(map(str, prompt)), "--steps", STEPS)
    columns = np.array(prompt)[:, None]
    record = checked_against_numpy(report, image, columns, STEPS, options, tmp_path, {"lut": 2})
    chosen = [int(token) for token in record["tokens"].split(",")]
    # Without the program's rounding NumPy's logits differ where a number lies between two integers.
    point = DecodePoint(model=str(smollm2_path), prompt_tokens=",".join(map(str, prompt)))
    own = against_model(point, record["tokens"], tmp_path / "logits", image)
    assert own["model_tokens"] == record["tokens"]
    assert own["logit_difference"] < 0.2 * own["logit_largest"]
    # In fp32, with the same words before it, NumPy chooses the same token but where int8 decides.
    seen: dict[str, Any] = {}
    model = open_gguf(smollm2_path)
    decoder = Decoder(model, LinearLayers(model))
    decoder.after([*prompt, *chosen[:-1]], lambda role, _, x: seen.update({role: x}))
    choices = (seen["head"][len(prompt) - 1 :] @ model.dequantize("token_embd.weight").T).argmax(axis=1)
    assert (choices == chosen).sum() >= 16
    assert chosen[:2] == Tokenizer(model).encode(" Paris.")


def test_units_give_the_same_bits(report: Report, image: Path, prompt: list[int]) -> None:
    """All 6,752 tiles of a token, by the emulated units."""
    options = ("--image", image, "--prompt", str(prompt[-1]), "--context", 33, "--cache", "int8")
    (plain,), (units,) = (
        report("decode", *options, "--linears", kind, "--threads", 2) for kind in ("neon", "lutmm")
    )
    assert units["emulated"] == 32 * 211
    assert (units["tokens"], units["logits"]) == (plain["tokens"], plain["logits"])
