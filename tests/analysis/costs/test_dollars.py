"""Dollars: shares, overhead, ranges, and refused price files."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.costs.dollars import (
    DOLLARS,
    PAYMENTS,
    CostConstants,
    Price,
    PriceList,
    dollars,
    prices,
    quoted,
    usd_per_hour,
    vcpus_paid,
)
from sailsim.base.errors import SailsimError


def cost_range(run, instances, span):
    """What a run costs on these instances."""
    return dollars(run | {"priced_as": ["sail-n1"]}, PriceList(tuple(instances), "a test"), span)


HEADER = "instance,machines,chip,kind,units,memory_gib,usd_per_hour,source,date\n"


ONE = {
    "tokens_per_s": 1.0, "low": None, "high": None, "kind": "cores", "cores": 1, "memory_bytes": 0.0,
    "pays": "used", "bandwidth_share": 0.0, "llc_share": 0.0, "overhead": False,
}  # fmt: skip
ENDS = CostConstants.ends()


def test_share_and_whole_of_a_server():
    price, run = prices().of("graviton2"), ONE | {"cores": 16}
    assert price.usd_per_hour == 2.176
    assert usd_per_hour(price, run) == pytest.approx(2.176 / 4)
    assert usd_per_hour(price, run, "whole") == pytest.approx(2.176)
    assert usd_per_hour(price, ONE | {"cores": 64}, overhead=0.02) == pytest.approx(2.176 * 1.02)
    # 2 GiB a vCPU: forty GiB of weights need twenty.
    assert vcpus_paid(price, ONE | {"cores": 4, "memory_bytes": 40 * 2**30}, "share") == 20
    for large in (ONE | {"cores": 80}, ONE | {"memory_bytes": 200 * 2**30}):
        assert usd_per_hour(price, large) is None


ROW = "x/y,graviton2,chip,cpu,64,128,{},somewhere,2025"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *(
            (f"{HEADER}{ROW.format(usd)}\n", "x/y: usd_per_hour is")
            for usd in ("0", "-1", "", "nan", "1e308")
        ),
        (f"{HEADER}{ROW.format(1)}\n{ROW.format(2)}\n", "'x/y' twice"),
        (HEADER + "x,g,c,tpu,64,128,1,s,d\n", "kind"),
        (HEADER + "x,g,c,cpu,0,128,1,s,d\n", "units"),
        (HEADER + "x,g,c,cpu,64,0,1,s,d\n", "memory_gib"),
        (HEADER + "x,g,c,cpu,64,128,1,,d\n", "source"),
        (HEADER + "x,g,c,cpu,64,128,1,s,\n", "date"),
        (HEADER + "x,g\n", "kind"),
        (HEADER, "allowed"),
        ("", "allowed"),
        ("a,b\n1,2\n", "instance is missing"),
        (b"\xff\xfe\x00", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_bad_prices_are_refused(tmp_path, text, said):
    path = tmp_path / "prices.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SailsimError, match=said):
        prices(path)


BAND = ONE | {"tokens_per_s": 10.0, "low": 8.0, "high": 12.0, "cores": 16, "bandwidth_share": 0.5}


def test_bandwidth_is_paid_where_it_is_the_larger_need():
    price = prices().of("graviton2")
    assert vcpus_paid(price, BAND, "bandwidth") == 32
    assert vcpus_paid(price, BAND | {"cores": 48}, "bandwidth") == 48
    assert vcpus_paid(price, BAND | {"bandwidth_share": 1.0}, "bandwidth") == 64
    assert usd_per_hour(price, BAND, "bandwidth") == pytest.approx(2.176 / 2)


@given(st.integers(1, 64), st.floats(0, 1), st.floats(0, 1))
def test_whoever_pays_for_the_cache_leaves_its_neighbours_theirs(threads, bandwidth, kept):
    price = prices().of("graviton2")
    run = ONE | {"cores": threads, "bandwidth_share": bandwidth, "llc_share": kept}
    paid = vcpus_paid(price, run, "llc")
    assert vcpus_paid(price, run, "bandwidth") <= paid <= price.units
    assert vcpus_paid(price, run | {"llc_share": 0.0}, "llc") == vcpus_paid(price, run, "bandwidth")
    # Cores that work, the neighbours' and the run's, share evenly what the accelerator leaves.
    neighbours = price.units - paid
    if neighbours:
        assert (1 - kept) / (neighbours + threads) >= 1 / price.units - 1e-9


def test_half_of_the_cache_beside_a_quarter_of_the_threads():
    price, run = prices().of("graviton2"), BAND | {"bandwidth_share": 0.24, "llc_share": 0.5}
    assert vcpus_paid(price, run, "llc") == 48
    assert vcpus_paid(price, run | {"bandwidth_share": 0.9}, "llc") == 58
    found = cost_range(run, [price], ENDS)
    assert found["tokens_per_usd_llc"] == pytest.approx(found["tokens_per_usd"] / 3)


def test_a_range_in_closed_form():
    only = (prices().of("graviton2"),)
    found = cost_range(BAND, only, ENDS)
    assert found["usd_per_hour"] == pytest.approx(2.176 / 2)
    assert found["tokens_per_usd"] == pytest.approx(10 * 3600 / (2.176 / 2))
    assert found["usd_per_million_tokens"] * found["tokens_per_usd"] == pytest.approx(1e6)
    # Least: slow end of the interval, 30 % used, the whole server. Most: fast end, the vCPUs of 16 threads.
    assert found["tokens_per_usd_low"] == pytest.approx(8 * 0.3 * 3600 / 2.176)
    assert found["tokens_per_usd_high"] == pytest.approx(12 * 3600 / (2.176 / 4))
    sail = cost_range(BAND | {"overhead": True}, only, ENDS)
    assert sail["tokens_per_usd"] == pytest.approx(found["tokens_per_usd"] / 1.02)
    assert sail["tokens_per_usd_low"] == pytest.approx(found["tokens_per_usd_low"] / 1.1)
    assert sail["tokens_per_usd_high"] == pytest.approx(found["tokens_per_usd_high"])


def test_more_instances_widen_a_range_and_none_is_none():
    both = prices().all_of(["sail-n1"], "cpu")
    assert [price.instance for price in both][:2] == ["aws/c6g.16xlarge", "aws/m6g.16xlarge"]
    every, one = cost_range(BAND, both, ENDS), cost_range(BAND, both[:1], ENDS)
    assert every["tokens_per_usd_low"] < one["tokens_per_usd_low"]
    assert every["tokens_per_usd"] == one["tokens_per_usd"]
    nothing = dict.fromkeys(DOLLARS)
    assert cost_range(BAND, (), ENDS) == cost_range(BAND | {"cores": 65}, both, ENDS) == nothing
    # The first instance lacks the memory: the next one that has it is nominal.
    large = BAND | {"memory_bytes": 200 * 2**30}
    assert cost_range(large, both, ENDS)["instance"] == "aws/m6g.16xlarge"


@given(st.integers(1, 4096), st.integers(1, 512), st.integers(0, 511))
def test_a_vcpu_has_its_share_of_the_memory_and_no_byte_less(gib, units, short):
    price = Price("x", ("m",), "c", "cpu", units, gib, 1.0, "s", "2026-01-01")
    for count in {units, max(1, units - short % units)}:
        held = gib * 2**30 * count // units
        assert vcpus_paid(price, ONE | {"memory_bytes": held}, "share") == count
        if count < units:
            assert vcpus_paid(price, ONE | {"memory_bytes": held + 1}, "share") == count + 1
    assert vcpus_paid(price, ONE | {"memory_bytes": gib * 2**30 + 1024}, "share") is None


def test_nominal_dollars_pay_for_what_does_not_work():
    only = (prices().of("graviton2"),)
    idle = ENDS | {"value": replace(ENDS["value"], utilisation=0.7)}
    full, used = (cost_range(BAND, only, each) for each in (ENDS, idle))
    assert used["usd_per_hour"] == full["usd_per_hour"]
    for name in ("tokens_per_usd", *(f"tokens_per_usd_{payment}" for payment in PAYMENTS)):
        assert used[name] == pytest.approx(0.7 * full[name])
    most = idle | {"high": replace(ENDS["high"], utilisation=0.8)}
    assert cost_range(BAND, only, most)["tokens_per_usd_high"] == pytest.approx(
        0.8 * full["tokens_per_usd_high"]
    )


@given(
    rate=st.floats(0.1, 1e4),
    threads=st.integers(1, 64),
    share=st.floats(0, 1),
    overhead=st.floats(0, 0.1),
    used=st.floats(0.3, 1),
    sail=st.booleans(),
)
def test_nominal_lies_in_its_range(rate, threads, share, overhead, used, sail):
    run = ONE | {"tokens_per_s": rate, "cores": threads, "bandwidth_share": share, "overhead": sail}
    span = ENDS | {"value": CostConstants(overhead, used)}
    found = cost_range(run, prices().all_of(["sail-n1"], "cpu"), span)
    assert found["tokens_per_usd_low"] <= found["tokens_per_usd"] * (1 + 1e-12)
    assert found["tokens_per_usd"] <= found["tokens_per_usd_high"] * (1 + 1e-12)


def test_own_prices_replace_the_shipped_ones(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text(HEADER + "mine,graviton2 sail-n1,c,cpu,32,64,1.5,me,2026\n")
    mine = prices(path)
    assert quoted([mine.of("sail-n1")]) == "mine 1.5 USD/h (me, 2026)"
    assert usd_per_hour(prices().of("v100"), ONE) == 3.06
    with pytest.raises(SailsimError, match="has no price of v100, allowed is one of graviton2, sail-n1"):
        mine.of("v100")
