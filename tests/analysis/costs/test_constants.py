"""Constants as files: what ships, what a file of one's own changes, and what is refused."""

import json

import pytest
from click.testing import CliRunner

from sailsim.analysis.costs.constants import files_by_kind
from sailsim.analysis.costs.dollars import CostConstants
from sailsim.analysis.costs.energy import EnergyConstants
from sailsim.analysis.runs.compare import compare
from sailsim.base.errors import SailsimError
from sailsim.cli import main
from sailsim.sim.point import Point

from ...refusals import quantity

POINT = Point(model="smollm2-135m", context=64)


def share(value, **more):
    return quantity(value, "ratio", **more)


def written(folder, text, name="own.toml"):
    path = folder / name
    path.write_text(text)
    return path


@pytest.fixture
def dear(tmp_path):
    """The shipped costs with another overhead."""
    overhead = share(0.5, low=0.4, high=0.6)
    return written(tmp_path, f'extends = "cost"\n[constants]\noverhead = {overhead}\n')


def test_dollars_follow_a_file(dear):
    before, after = (compare(POINT, constants=files)["runs"] for files in ((), (dear,)))
    assert after["sail"]["usd_per_hour"] == pytest.approx(before["sail"]["usd_per_hour"] * 1.5 / 1.02)
    ratios = {name: None for name in before["cores"] if name.startswith("usd_ratio_")}
    assert after["cores"] | ratios == before["cores"] | ratios
    # No end of the range may be better than the lowest overhead allows.
    best = before["sail"]["tokens_per_usd_high"]
    assert after["sail"]["tokens_per_usd_high"] == pytest.approx(best / 1.4)


def test_joules_follow_a_file_in_the_command(tmp_path):
    watts = quantity(50, "W", low=40, high=60)
    path = written(tmp_path, f'extends = "energy"\n[constants]\nuncore_w = {watts}\n')
    asked = ["run", "--model", POINT.model, "--context", "64", "--json"]
    before, after = (
        json.loads(CliRunner().invoke(main, [*asked, *more]).stdout)["runs"]
        for more in ([], ["--constants", str(path)])
    )
    for name in ("sail", "cores"):
        static = after[name]["energy"]["static"] - before[name]["energy"]["static"]
        assert static == pytest.approx((50 - 25) * after[name]["step_s"])
        assert before[name]["tokens_per_s"] == after[name]["tokens_per_s"]


WRONG = [
    ("no source", f"overhead = {share(0.1, source=' ')}", r"constants\.overhead needs a source"),
    ("no range", f"overhead = {share(0.1, kind='assumed', note='why')}", r"overhead is assumed.*range"),
    ("another unit", f"overhead = {quantity(0.1, 'W')}", r"overhead has the unit 'W'; allowed is 'ratio'"),
    ("beyond", f"utilisation = {share(1.5)}", r"utilisation is 1.5; allowed is a number above 0 and at"),
    ("range", f"utilisation = {share(0.5, high=1.5)}", r"utilisation has high 1.5; allowed"),
    ("unknown", f"tax = {share(0.1)}", r"constants\.tax is not a field.*overhead, utilisation"),
]


@pytest.mark.parametrize(("text", "said"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_wrong_file_is_named_with_its_field(tmp_path, text, said):
    path = written(tmp_path, f'extends = "cost"\n[constants]\n{text}\n')
    with pytest.raises(SailsimError, match=rf"own\.toml: .*{said}") as caught:
        CostConstants.ends(path)
    assert str(caught.value).count("\n") == 0


def test_a_file_without_all_of_them_names_one(tmp_path):
    path = written(tmp_path, f'format = 1\nkind = "cost"\n[constants]\noverhead = {share(0.1)}\n')
    with pytest.raises(SailsimError, match=r"constants\.utilisation is missing"):
        CostConstants.ends(path)


def test_files_of_other_kinds_are_refused(tmp_path, dear):
    with pytest.raises(SailsimError, match=r"own\.toml: kind is 'cost'; allowed is 'energy'|kind is 'cost'"):
        EnergyConstants.ends(dear)
    with pytest.raises(SailsimError, match=r"own\.toml: kind is 'cost', as that of .*one file of each"):
        files_by_kind([dear, dear], [CostConstants])
    area = written(tmp_path, 'extends = "area"\n', "area.toml")
    result = CliRunner().invoke(main, ["run", "--model", POINT.model, "--constants", str(area)])
    assert result.exit_code == 2
    assert "area.toml: kind is 'area'; allowed here is cost or energy." in result.output
    with pytest.raises(SailsimError, match=r"constants is 'gone'; allowed are area, cost, energy"):
        compare(POINT, constants=["gone"])
