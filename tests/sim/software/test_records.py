"""Records of software: what is refused, and a foreign kernel from its file to its rate."""

from pathlib import Path

import pytest

from sailsim.analysis.runs.compare import compare
from sailsim.analysis.runs.runs import read_runners, runners
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import core_of, fitted_constants
from sailsim.sim.software.kernel_rates import format_rate
from sailsim.sim.software.records import FILED, load_software, shipped_records, software_names
from sailsim.workloads.models.formats import uniform_format, weight_format

from ...refusals import refusal

MINE = """name = "mine"
title = "my kernels"
provenance = "measured"
source = "a bench"
based_on = "llama.cpp"
formats = ["w4", "w2"]

[rates.neoverse-n1]
w4 = { value = 14, unit = "MAC/cycle", low = 12, high = 15, source = "a bench", kind = "measured" }
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    return file


def test_every_record_that_ships_says_who_ran_it_and_can_be_run() -> None:
    records = shipped_records()
    assert software_names()[0] == FILED
    assert {record.provenance for record in records} == {"measured", "simulated", "claimed"}
    for record in records:
        assert load_software(record.host).host == record.host
        core = next(iter(record.cores or load_software(record.based_on).cores))
        fmt = weight_format(record.formats[0]) if record.serves else uniform_format(2, 32)
        anchor, rate = format_rate(record.name, fmt, core=core)
        assert 0 < rate.low <= rate.relative <= rate.high
        assert anchor > 0


@pytest.mark.parametrize("provenance", ["measured", "simulated", "claimed"])
def test_a_foreign_kernel_is_a_row_with_its_provenance(mine: Path, provenance: str) -> None:
    mine.write_text(MINE.replace('"measured"\nsource', f'"{provenance}"\nsource'))
    point = Point(model="smollm2-135m", wbits=4, threads=8)
    runs = compare(point, runners=runners([str(mine)]))["runs"]
    own, llama = runs["mine"], runs["cores"]
    assert own["provenance"] == provenance
    assert own["title"] == "cores, my kernels" + " †" * (provenance != "measured")
    assert own["host_software"] == FILED
    assert own["rests_on"] == "mine.toml: a bench"
    same = [name for name in own["phases"] if name not in ("weights", "kernels")]
    assert all(own["phases"][name] == llama["phases"][name] for name in same)
    assert own["low"] < own["tokens_per_s"] < own["high"]
    faster = fitted_constants().software(FILED).value("kernel_rate_q4_k_m") < 14
    assert (own["tokens_per_s"] > llama["tokens_per_s"]) == faster


def test_what_a_foreign_kernel_does_not_multiply_is_refused(mine: Path) -> None:
    runs = compare(Point(model="smollm2-135m", wbits=3), runners=runners([str(mine)]))["runs"]
    assert runs["mine"]["reason"] == "weights are w3g128; allowed for my kernels are w4, w2."
    runs = compare(Point(model="smollm2-135m", wbits=2), runners=runners([str(mine)]))["runs"]
    assert runs["mine"]["reason"] == "weights are w2g128; allowed for my kernels on neoverse-n1 are w4."
    other = compare(Point(model="smollm2-135m", system="graviton3", wbits=4), runners=runners([str(mine)]))[
        "runs"
    ]
    assert core_of(load_system("graviton3")) == "neoverse-v1"
    assert "was not measured on neoverse-v1" in other["mine"]["reason"]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('provenance = "measured"\n', "", "provenance is missing"),
        ('provenance = "measured"', 'provenance = "guessed"', "provenance is 'guessed'; allowed is"),
        ('["w4", "w2"]', '["w2"]', "rates.neoverse-n1 has 'w4'; allowed are formats, w2"),
        ('name = "mine"', 'name = "neon"', "name is 'neon', which ships; allowed is another"),
        ("neoverse-n1", "cortex-m0", "rates has 'cortex-m0'; allowed are neoverse-n1"),
        ('"MAC/cycle"', '"ratio"', "has the unit 'ratio'; allowed is 'MAC/cycle'"),
        ('based_on = "llama.cpp"', 'based_on = "mine"', "based_on is 'mine'; allowed are"),
        ('kind = "measured" }', 'kind = "assumed" }', "is assumed, so it needs the reason in `note`"),
        ("value = 14", "value = 1e999", "needs finite numbers"),
        ("formats =", "shapes =", "shapes is not a field of a software's record"),
    ],
)
def test_a_bad_record_is_one_sentence(mine: Path, old: str, new: str, sentence: str) -> None:
    assert old in MINE
    mine.write_text(MINE.replace(old, new))
    assert sentence in refusal(lambda: read_runners(mine))


def test_software_without_a_record_is_refused() -> None:
    assert "software is 'mine'; allowed are" in refusal(lambda: load_software("mine"))


def test_a_changed_record_is_read_again(mine: Path) -> None:
    assert load_software(str(mine)).rates["neoverse-n1"]["w4"].value == 14
    mine.write_text(MINE.replace("value = 14", "value = 13.5"))
    assert load_software(str(mine)).rates["neoverse-n1"]["w4"].value == 13.5
