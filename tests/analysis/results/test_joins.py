"""Ratios, dollars and joules over runs: what they follow from, and what they lack."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from sailsim.analysis.costs.constants import Span
from sailsim.analysis.costs.dollars import PAYMENTS, CostConstants, prices
from sailsim.analysis.costs.energy import EnergyConstants
from sailsim.analysis.results.compare import compare
from sailsim.analysis.results.joins import JOINED, as_frame, energy_of, joined, speedup, tokens_per_usd
from sailsim.analysis.results.runs import COLUMNS, runners, runs
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.point import Point

POINT = Point(model="smollm2-135m", context=64, batch=2, threads=8)
HEADER = "instance,machines,chip,kind,units,memory_gib,usd_per_hour,source,date\n"


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    """Two points, so that a join must keep them apart."""
    return as_frame([*runs(POINT), *runs(replace(POINT, wbits=8))])


@pytest.fixture(scope="module")
def rows(records: pd.DataFrame) -> pd.DataFrame:
    return joined(records, prices())


def one(rows: pd.DataFrame, runner: str, wbits: int = 4) -> pd.Series:
    (row,) = (row for _, row in rows.iterrows() if (row["runner"], row["wbits"]) == (runner, wbits))
    return row


def test_joins_add_columns_and_keep_rows(records: pd.DataFrame, rows: pd.DataFrame) -> None:
    assert list(records.columns) == list(COLUMNS)
    assert list(rows.columns) == [*COLUMNS, *JOINED]
    assert list(rows["runner"]) == list(records["runner"])
    pd.testing.assert_frame_equal(joined(rows, prices()), rows)


def test_a_speedup_is_a_ratio_at_one_point_and_its_ends_those_of_the_band(rows: pd.DataFrame) -> None:
    for wbits in (4, 8):
        sail = one(rows, "sail", wbits)
        assert sail["speedup"] == 1.0 == sail["speedup_low"] == sail["speedup_high"]
        for name in ("cores", "v100-serving"):
            row = one(rows, name, wbits)
            if pd.isna(row["tokens_per_s"]):
                assert pd.isna(row["speedup"])
                continue
            assert row["speedup"] == pytest.approx(sail["tokens_per_s"] / row["tokens_per_s"])
            assert row["speedup_low"] == pytest.approx(sail["tokens_per_s"] / row["high"])
            assert row["speedup_high"] == pytest.approx(sail["tokens_per_s"] / row["low"])
    assert speedup(rows, "cores")[rows["runner"] == "cores"].tolist() == [1.0, 1.0]


def test_a_runner_that_is_not_there_gives_no_ratio(records: pd.DataFrame) -> None:
    assert joined(records[records["runner"] != "sail"], prices())["speedup"].isna().all()


def test_dollars_follow_from_rates_and_prices(rows: pd.DataFrame) -> None:
    sail, cores, whole = (one(rows, name) for name in ("sail", "cores", "cores-all"))
    hour = 2.176 * 8 / 64
    assert cores["tokens_per_usd_used"] == pytest.approx(cores["tokens_per_s"] * 3600 / hour)
    assert sail["tokens_per_usd_used"] == pytest.approx(sail["tokens_per_s"] * 3600 / hour / 1.02)
    assert sail["tokens_per_usd_whole"] == pytest.approx(sail["tokens_per_usd_used"] / 8)
    assert cores["usd_ratio_used"] == pytest.approx(cores["speedup"] / 1.02)
    for payment in PAYMENTS:
        assert whole[f"tokens_per_usd_{payment}"] == pytest.approx(whole["tokens_per_s"] * 3600 / 2.176)
    v100, h100 = one(rows, "v100"), one(rows, "h100")
    assert v100["tokens_per_usd"] == pytest.approx(v100["tokens_per_s"] * 3600 / 3.06)
    assert pd.isna(h100["tokens_per_usd"])
    assert pd.isna(h100["usd_per_hour"])
    assert cores["price_date"] == "2025-03-02"


def test_nominal_dollars_are_those_of_the_bandwidth_and_lie_in_their_range(rows: pd.DataFrame) -> None:
    priced = rows[rows["usd_per_hour"].notna()]
    assert len(priced) > 30
    assert list(priced["tokens_per_usd"]) == pytest.approx(list(priced["tokens_per_usd_bandwidth"]))
    assert (priced["tokens_per_usd_low"] <= priced["tokens_per_usd"]).all()
    assert (priced["tokens_per_usd"] <= priced["tokens_per_usd_high"] * (1 + 1e-9)).all()
    ends = priced[["tokens_per_usd_used", "tokens_per_usd_bandwidth", "tokens_per_usd_whole"]]
    assert (ends.diff(axis=1).iloc[:, 1:] <= 1e-9).all().all()


def test_what_is_paid_is_said(tmp_path: Path) -> None:
    """By threads, by memory and by bandwidth; a card; all; with the overhead."""
    big = joined(as_frame(runs(Point(batch=1))), prices())
    assert one(big, "sail")["paid"] == "49 vCPUs (bandwidth) +2%"
    assert one(big, "cores-all")["paid"] == "64 vCPUs (all)"
    assert one(big, "v100")["paid"] == "1 card"
    assert one(big, "cores")["paid"] == "16 vCPUs (threads)"
    few = joined(as_frame(runs(Point(model="llama-2-13b", wbits=8, threads=1))), prices())
    assert one(few, "cores", 8)["paid"] == "7 vCPUs (memory)"


def test_utilisation_scales_dollars_and_leaves_ratios(records: pd.DataFrame, rows: pd.DataFrame) -> None:
    span = Span.of(CostConstants)
    span = replace(span, nominal=replace(span.nominal, utilisation=0.5))
    half = joined(records, prices(), span)
    for name in JOINED:
        if name.startswith("tokens_per_usd") and not name.endswith(("low", "high")):
            assert half[name].to_numpy() == pytest.approx(rows[name].to_numpy() / 2, nan_ok=True)
        if name.startswith("usd_ratio"):
            assert half[name].to_numpy() == pytest.approx(rows[name].to_numpy(), nan_ok=True)


def test_other_prices_price_again(rows: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(HEADER + "a,sail-n1,c,cpu,64,128,4.352,me,2030\nb,v100,c,gpu,1,,6.12,me,2030\n")
    again = joined(rows, prices(path))
    assert list(again.columns) == list(rows.columns)
    priced = again[again["price_date"] == "2030"]
    assert {"sail", "cores", "v100", "v100-serving"} <= set(priced["runner"])
    half = again["tokens_per_usd_used"] * 2
    same = rows["tokens_per_usd_used"].where(again["price_date"] == "2030")
    pd.testing.assert_series_equal(half, same, check_names=False)
    assert again[again["runner"] == "t4"]["tokens_per_usd"].isna().all()
    v100 = again["runner"] == "v100"
    pd.testing.assert_series_equal(again["usd_ratio_used"][v100], rows["usd_ratio_used"][v100])


def test_a_variant_of_a_machine_costs_what_the_machine_costs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "l4"\nname = "mine"\ntitle = "Mine"\n')
    found = joined(as_frame(runs(POINT, runners=runners([path]))), prices())
    assert one(found, "mine")["usd_per_hour"] == one(found, "l4")["usd_per_hour"] == 0.8048
    assert one(found, "mine")["instance"] == "aws/g6.xlarge"


def test_a_variant_of_a_file_costs_what_its_file_does_and_not_what_that_extends(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "sail-n1"\nname = "mine"\n')
    (tmp_path / "wider.toml").write_text('extends = "mine.toml"\nname = "wider"\n')
    rows = ("x/n1,sail-n1,chip,cpu,64,512,2,here,2026", "x/mine,mine,chip,cpu,64,512,1,here,2026")
    (tmp_path / "prices.csv").write_text(HEADER + "\n".join(rows) + "\n")
    point = Point(model="smollm2-135m", system=str(tmp_path / "wider.toml"))
    found = compare(point, price_list=prices(tmp_path / "prices.csv"))["runs"]["sail"]
    assert found["instance"] == "x/mine"


def test_a_device_beside_a_server_costs_what_a_row_says_of_itself_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "aim-n1"\nname = "mine"\n')
    rows = ("x/n1,graviton2 sail-n1,chip,cpu,64,512,2,here,2026", "x/aim,mine,chip,cpu,64,512,3,here,2026")
    (tmp_path / "prices.csv").write_text(HEADER + "\n".join(rows) + "\n")
    mine = f"{tmp_path / 'mine.toml'}"
    beside = runners([mine, f"{mine}:accelerator.channels=64", "aim-n1"])
    found = compare(Point(), runners=beside, price_list=prices(tmp_path / "prices.csv"))["runs"]
    instances = [run["instance"] for run in found.values()][-3:]
    assert instances == ["x/aim", "x/aim", None]


def test_whose_price_a_machine_has_and_why_it_has_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "sail-n1"\nname = "mine"\n')
    beside = runners(["aim-n1"])
    point = Point(model="smollm2-135m", system=str(tmp_path / "mine.toml"))
    said = compare(point, runners=beside)["price_notes"]
    variant = said["has the price of sail-n1, which mine is a variant of"]
    assert variant[:2] == ["sail", "cores"]
    assert "h100" in said["no price: no row of the shipped price file names h100"]
    assert said["no price: no row of the shipped price file names aim-n1"] == ["aim-n1"]
    row = "x/small,sail-n1,chip,cpu,8,16,2,here,2026"
    (tmp_path / "prices.csv").write_text(f"{HEADER}{row}\n")
    small = compare(Point(model="smollm2-135m"), price_list=prices(tmp_path / "prices.csv"))["price_notes"]
    assert "sail" in small["no price: no instance of sail-n1 has the vCPUs or the memory of the run"]
    assert not [note for note in compare(Point(model="smollm2-135m"))["price_notes"] if "sail" in note]


def test_a_row_of_the_other_kind_prices_nothing(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(f"{HEADER}x/n1,sail-n1,chip,gpu,64,512,2,here,2026\n")
    with pytest.raises(SailsimError, match=r"prices.csv, x/n1: kind is 'gpu', allowed for sail-n1 is cpu"):
        compare(Point(model="smollm2-135m"), price_list=prices(path))


def test_a_run_without_a_rate_costs_nothing_that_is_known() -> None:
    found = tokens_per_usd(as_frame(runs(Point(model="llama-2-70b", threads=64))), prices())
    assert found["tokens_per_usd"].isna().any()
    assert found["tokens_per_usd"].notna().any()


def test_energy_follows_from_a_record_at_any_constants(rows: pd.DataFrame) -> None:
    system, c = load_system("sail-n1"), EnergyConstants.default()
    hot = replace(c, core_active_w=2 * c.core_active_w)
    for name in ("sail", "cores", "cores-all"):
        row = one(rows, name).to_dict()
        found = energy_of(row, system)
        assert found.joules == pytest.approx(row["energy_j"])
        assert 1 / found.joules_per_token == pytest.approx(row["tokens_per_j"])
        assert energy_of(row, system, hot).by_cause["cores"] > found.by_cause["cores"]
        assert row["energy_low_j"] < row["energy_j"] < row["energy_high_j"]
    with pytest.raises(SailsimError, match="v100 is a card"):
        energy_of(one(rows, "v100").to_dict(), system)


def test_the_range_of_all_cores_pays_for_all_of_them() -> None:
    """Not for as many as the point has threads: at one thread the range would be 64 times as good."""
    found = compare(Point(threads=1))["runs"]["cores-all"]
    best = found["tokens_per_usd_high"]
    nominal, band = found["tokens_per_usd"], found["high"] / found["tokens_per_s"]
    assert nominal <= best <= 1.5 * nominal * band
