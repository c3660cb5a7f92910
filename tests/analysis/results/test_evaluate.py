"""A point beside its baselines: the record, the nested answer and other prices."""

from dataclasses import replace

import pandas as pd
import pytest

from sailsim.analysis import cpu_tokens_per_s, evaluate, prices, reprice
from sailsim.errors import SailsimError
from sailsim.sim import (
    COUNTS,
    PHASES,
    Point,
    card_names,
    load_system,
    simulate_step,
    vary,
)
from sailsim.workloads import load_model, uniform_format

POINT = Point(model="smollm2-135m", context=64, batch=2, threads=8)


def test_record_is_flat_and_joins_what_its_parts_say():
    record = evaluate(POINT)
    assert all(not isinstance(value, dict) for value in record.values())
    result = simulate_step(load_system("sail-n1"), load_model("smollm2-135m"), POINT)
    assert record["sail_step_s"] == result.step_s
    assert record["sail_tokens_per_s"] == pytest.approx(2 / result.step_s)
    assert sum(record[f"time_{phase}_s"] for phase in PHASES) == pytest.approx(result.step_s)
    assert all(record[f"count_{name}"] == result.counts[name] for name in COUNTS)
    cpu = cpu_tokens_per_s(
        load_system("sail-n1"), load_model("smollm2-135m"), uniform_format(4, 128), 8, 2, 64
    )
    assert record["cpu_tokens_per_s"] == cpu.tokens_per_s
    assert record["speedup_cpu"] == pytest.approx(record["sail_tokens_per_s"] / cpu.tokens_per_s)
    for card in card_names():
        assert record[f"speedup_{card}"] == pytest.approx(
            record["sail_tokens_per_s"] / record[f"gpu_{card}_tokens_per_s"]
        )


def test_dollars_follow_from_rates_and_prices():
    record = evaluate(POINT)
    hour = 2.176 * 8 / 64
    assert record["cpu_tokens_per_usd"] == pytest.approx(record["cpu_tokens_per_s"] * 3600 / hour)
    assert record["sail_tokens_per_usd"] == pytest.approx(record["sail_tokens_per_s"] * 3600 / hour / 1.02)
    assert record["sail_tokens_per_usd_whole"] == pytest.approx(record["sail_tokens_per_usd"] / 8)
    assert record["usd_ratio_cpu"] == pytest.approx(record["speedup_cpu"] / 1.02)
    assert record["gpu_v100_tokens_per_usd"] == pytest.approx(record["gpu_v100_tokens_per_s"] * 3600 / 3.06)
    assert record["gpu_h100_tokens_per_usd"] is None
    assert record["price_date"] == "2025-03-02"


def test_a_card_that_is_too_small_has_no_number_and_a_reason():
    point = Point(model="llama-2-70b", threads=64)
    record = evaluate(point)
    assert record["gpu_t4_tokens_per_s"] is None
    assert record["speedup_t4"] is None
    assert any("t4" in note and "GB" in note for note in record["notes"])


def test_a_machine_may_come_by_itself_or_by_its_file(tmp_path):
    varied = vary(load_system("sail-n1"), {"pim.arrays": 4, "memory.latency": 97}, name="small")
    record = evaluate(POINT, varied)
    assert record["system"] == "small"
    assert record["price_instance"] == "aws/c6g.16xlarge"
    assert record["sail_step_s"] == simulate_step(varied, load_model("smollm2-135m"), POINT).step_s
    assert record["sail_step_s"] > evaluate(POINT)["sail_step_s"]


def test_machines_of_one_name_have_their_own_baselines():
    fast = vary(load_system("sail-n1"), {"memory.read_share": 0.95})
    assert evaluate(POINT, fast)["cpu_tokens_per_s"] > evaluate(POINT)["cpu_tokens_per_s"]


def test_rows_can_be_priced_again(tmp_path, frame):
    path = tmp_path / "prices.csv"
    path.write_text(
        "instance,machines,chip,kind,units,memory_gib,usd_per_hour,source,date\n"
        "a,sail-n1,c,cpu,64,128,4.352,me,2030\nb,v100,c,gpu,1,,6.12,me,2030\n"
    )
    again = reprice(frame, prices(path))
    assert (again["price_date"] == "2030").all()
    pd.testing.assert_series_equal(again["cpu_tokens_per_usd"] * 2, frame["cpu_tokens_per_usd"])
    pd.testing.assert_series_equal(again["usd_ratio_v100"], frame["usd_ratio_v100"])
    assert again["gpu_t4_tokens_per_usd"].isna().all()
    assert set(again.columns) == set(frame.columns)
    path.write_text(path.read_text().replace("sail-n1", "other"))
    none = reprice(frame, prices(path))
    assert none["sail_tokens_per_usd"].isna().all()
    assert none["price_date"].isna().all()
    assert none["gpu_v100_tokens_per_usd"].notna().all()


def test_a_variant_of_a_machine_costs_what_the_machine_costs(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "sail-n1"\nname = "mine"\ntitle = "Mine"\n[sources]\n')
    mine = evaluate(replace(POINT, system=str(path)))
    assert mine["sail_tokens_per_usd"] == evaluate(POINT)["sail_tokens_per_usd"]


def test_a_cpu_baseline_of_a_point_that_cannot_run_is_an_error():
    with pytest.raises(SailsimError, match="threads"):
        evaluate(Point(model="smollm2-135m", threads=65))


def test_a_card_is_judged_with_a_serving_stack_too():
    record = evaluate(Point(model="llama-2-7b", wbits=4, batch=32, threads=16, context=512))
    assert record["gpu_v100_tokens_per_s"] < record["gpu_v100_serving_tokens_per_s"]
    assert record["usd_ratio_v100_serving"] < record["usd_ratio_v100"]
    ratio = record["sail_tokens_per_s"] / record["gpu_v100_serving_tokens_per_s"]
    assert record["speedup_v100_serving"] == pytest.approx(ratio)
    two = evaluate(Point(model="llama-2-7b", wbits=2, batch=1, threads=16, context=512))
    assert two["gpu_v100_serving_tokens_per_s"] is None is two["usd_ratio_v100_serving"]


def test_a_store_from_before_the_serving_columns_is_priced():
    record = evaluate(Point(model="llama-2-7b", wbits=4, batch=32, threads=16, context=512))
    old = {name: value for name, value in record.items() if "serving" not in name}
    again = reprice(pd.DataFrame([old]), prices())
    assert again["usd_ratio_v100_serving"].isna().all()
    assert again["usd_ratio_v100"].iloc[0] == pytest.approx(record["usd_ratio_v100"])
