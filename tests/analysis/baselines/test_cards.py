"""What a machine's constants come from: its file, by which name it goes, and what its file extends."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from calibration.gpu_problem import CARDS, NEAREST
from calibration.prompt_problem import SIXTEEN_BIT_CARDS
from sailsim.analysis.baselines import gpu
from sailsim.analysis.baselines.card_kernels import OF_THE_FIT, taken_over
from sailsim.analysis.baselines.fitted import fitted_constants
from sailsim.analysis.baselines.gpu_prompts import gpu_prompt_tokens_per_s
from sailsim.analysis.baselines.predict import baseline
from sailsim.analysis.baselines.runners import runners
from sailsim.base.errors import SailsimError
from sailsim.sim.files import card_names, load_card, load_machine, system_names
from sailsim.sim.vary import vary
from sailsim.workloads.formats import uniform_format, weight_format
from sailsim.workloads.load import load_model

MODEL = load_model("gemma-2b")
F16 = weight_format("f16")
FORMATS = (weight_format("q4_k_m"), weight_format("q2_k"), uniform_format(3, 128), F16)
WORKLOADS = [
    *({"batch": batch, "context": 512} for batch in (1, 8, 16)),
    {"batch": 16, "context": 512, "software": "serving"},
    *({"prompt": prompt, "batch": batch} for prompt, batch in ((128, 1), (1024, 1), (512, 4))),
    {"batch": 8, "requests": (512, 128)},
]


def answers(machine, workloads, formats):
    """Every number of every workload in every format, or the sentence that refuses it without the name."""
    name = load_machine(machine).name
    found = []
    for asked in workloads:
        for fmt in formats:
            try:
                found.append(replace(baseline(machine, MODEL, fmt, **asked), notes=()))
            except SailsimError as error:
                found.append(str(error).replace(name, "it"))
    return found


def extended(folder: Path, name: str, more: str = "") -> Path:
    """A file that extends a shipped machine under another name."""
    path = folder / "other.toml"
    path.write_text(f'extends = "{name}"\nname = "other"\ntitle = "Another"\n{more}')
    return path


@pytest.mark.parametrize("name", card_names())
def test_a_card_under_another_name_has_the_same_numbers(tmp_path, name):
    shipped = answers(name, WORKLOADS, FORMATS)
    assert sum(not isinstance(each, str) for each in shipped) >= 12
    assert answers(extended(tmp_path, name), WORKLOADS, FORMATS) == shipped
    (runner,) = (r for r in runners([extended(tmp_path, name)]) if r.name == "other")
    assert runner.machine.kernels == load_card(name).kernels
    # Nor does it matter how a value of no consequence is set.
    watts = load_card(name).tdp.value
    assert answers(f"{name}:tdp={watts}", WORKLOADS, FORMATS) == shipped


@pytest.mark.parametrize("name", system_names())
def test_cores_under_another_name_have_the_same_numbers(tmp_path, name):
    asked = [{"threads": 8}, {"threads": 8, "batch": 16, "instances": None}, {"threads": 8, "prompt": 512},
             {"threads": 8, "software": "neon"}, {"threads": 8, "software": "t-mac"}]  # fmt: skip
    formats = FORMATS[:1] + FORMATS[2:3]
    assert answers(extended(tmp_path, name), asked, formats) == answers(name, asked, formats)


def test_an_answer_says_whose_constants_a_card_took_over(tmp_path):
    path = extended(tmp_path, "l4")
    said = "The kernels of other are taken over from l4: read_share, prompt_share, prompt_share_f16."
    for fmt, asked in (
        (FORMATS[0], {}),
        (F16, {}),
        (FORMATS[0], {"prompt": 512}),
        (F16, {"batch": 4, "requests": (64, 64)}),
        (FORMATS[0], {"software": "serving"}),
    ):
        other, shipped = (baseline(machine, MODEL, fmt, **asked).notes for machine in (path, "l4"))
        assert [note for note in other if note not in shipped] == [said]
    own = '[kernels]\nread_share = { value = 0.5, unit = "ratio", source = "a test", kind = "measured" }\n'
    (said,) = taken_over(load_card(extended(tmp_path, "l4", own)))
    assert said == "The kernels of other are taken over from l4: prompt_share, prompt_share_f16."


def test_no_source_of_the_baselines_names_a_card():
    """What is true of one card is in its file: a docstring may name it, a text or a table in code may not."""
    folder = Path(gpu.__file__).parent
    named = re.compile(rf"\b({'|'.join(card_names())})\b", re.IGNORECASE)
    found = []
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text())
        said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [
            f"{path.name}:{node.lineno}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
            if named.search(node.value)
        ]
    assert found == []


def test_the_files_have_what_the_fit_found():
    fit = fitted_constants().gpu.constants
    of_card = {"read_share": CARDS, "prompt_share": CARDS, "prompt_share_f16": SIXTEEN_BIT_CARDS}
    expected = {(card, name): fit[f"{name}_{card}"] for name, cards in of_card.items() for card in cards}
    expected["v100", "batch_rate"] = fit["batch_rate_v100"]
    expected |= {("a100", name): fit[name] for name in fit if name.endswith("_w4")}
    measured = {}
    for card in card_names():
        for name, own in load_card(card).kernels:
            if own is not None and own.kind == "fitted":
                measured[card, name] = own
                assert own.source == OF_THE_FIT
    assert measured.keys() == expected.keys()
    for key, own in measured.items():
        assert (own.value, own.unit, own.low, own.high) == (
            expected[key].value, expected[key].unit, expected[key].low, expected[key].high)  # fmt: skip
    for name, cards in NEAREST.items():
        for card, near in cards.items():
            values = [fit[f"{name}_{other}"].value for other in near]
            product = values[0] * values[-1]
            assert getattr(load_card(card).kernels, name).value == pytest.approx(product**0.5, rel=1e-12)


def test_a_card_without_constants_has_those_of_the_measured_ones():
    bare = load_card("l4").model_copy(update={"name": "bare", "kernels": type(load_card("l4").kernels)()})
    found = gpu.constants(bare, FORMATS[0])
    # The fifth root of 0.902686 * 0.62179 * 0.92 * 0.898789 * 0.757705 = 0.351663.
    assert float(found.read_share) == pytest.approx(0.811382, rel=1e-5)
    # The fifth root of 0.321424 * 0.267108 * 0.705042 * 0.304018 * 0.209397 = 0.00385345.
    assert float(found.compute_share) == pytest.approx(0.328980, rel=1e-5)
    assert float(found.batch_rate) == 102.309
    notes = gpu.gpu_tokens_per_s(bare, MODEL, FORMATS[0]).notes
    assert any("its read share is the measured cards' mean" in note for note in notes)
    with pytest.raises(SailsimError, match=r"measured on card bare; allowed .* a100, a10g, l4, t4, v100"):
        gpu_prompt_tokens_per_s(bare, MODEL, FORMATS[0], 512)


def test_a_users_own_constant_is_no_fits_to_move():
    """Other fits (a paper's sample) move what is theirs, by the name of the card or of what it extends."""
    moved = fitted_constants().varied({"gpu.read_share_l4": 0.7, "gpu.batch_rate_elsewhere": 60.0})
    l4 = load_card("l4")
    mine = vary(l4, {"kernels.read_share": 0.5}, name="mine")
    assert mine.extends == ("l4",)
    for card, read in (
        (l4, 0.7),
        (l4.model_copy(update={"name": "x", "extends": ("l4",)}), 0.7),
        (mine, 0.5),
    ):
        found = gpu.constants(card, FORMATS[0], moved)
        assert float(found.read_share) == pytest.approx(read)
        assert float(found.batch_rate) == 60
    # A value that somebody sets is no measurement: its band is wider.
    shipped, changed = (gpu.gpu_tokens_per_s(card, MODEL, FORMATS[0]) for card in (l4, mine))
    assert changed.low / changed.tokens_per_s < shipped.low / shipped.tokens_per_s
    assert any("its read share is a variation" in note for note in changed.notes)
