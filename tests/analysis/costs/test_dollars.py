"""Dollars: shares, overhead, ranges, and refused price files."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.costs.constants import Span
from sailsim.analysis.costs.dollars import (
    CostConstants,
    Price,
    Usage,
    cost_range,
    prices,
    quoted,
    usd_per_hour,
    vcpus_paid,
)
from sailsim.base.errors import SailsimError

HEADER = "instance,machines,chip,kind,units,memory_gib,usd_per_hour,source,date\n"


def test_share_and_whole_of_a_server():
    price = prices().of("graviton2")
    assert price.usd_per_hour == 2.176
    assert usd_per_hour(price, threads=16) == pytest.approx(2.176 / 4)
    assert usd_per_hour(price, threads=16, sizing="whole") == pytest.approx(2.176)
    assert usd_per_hour(price, threads=64, overhead=0.02) == pytest.approx(2.176 * 1.02)
    # 2 GiB a vCPU: forty GiB of weights need twenty.
    assert vcpus_paid(price, 4, 40 * 2**30, "share") == 20


def test_runs_that_no_instance_holds_are_refused():
    price = prices().of("graviton2")
    with pytest.raises(SailsimError, match=r"64 vCPUs.*80 threads"):
        usd_per_hour(price, threads=80)
    with pytest.raises(SailsimError, match=r"64 vCPUs.*200 GiB"):
        usd_per_hour(price, threads=1, memory_bytes=200 * 2**30)


ROW = "x/y,graviton2,chip,cpu,64,128,{},somewhere,2025"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *(
            (f"{HEADER}{ROW.format(usd)}\n", "x/y: usd_per_hour.*above 0")
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
        ("a,b\n1,2\n", "allowed"),
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


BAND = Usage(tokens_per_s=10.0, low=8.0, high=12.0, threads=16, bandwidth_share=0.5)


def test_bandwidth_is_paid_where_it_is_the_larger_need():
    price = prices().of("graviton2")
    assert vcpus_paid(price, 16, 0, "bandwidth", 0.5) == 32
    assert vcpus_paid(price, 48, 0, "bandwidth", 0.5) == 48
    assert vcpus_paid(price, 16, 0, "bandwidth", 1.0) == 64
    assert usd_per_hour(price, 16, sizing="bandwidth", bandwidth_share=0.5) == pytest.approx(2.176 / 2)
    with pytest.raises(SailsimError, match=r"bandwidth_share is 1.5.*0..1"):
        vcpus_paid(price, 1, 0, "bandwidth", 1.5)
    with pytest.raises(SailsimError, match="sizing is 'half'"):
        vcpus_paid(price, 1, 0, "half")


def test_a_range_in_closed_form():
    only = (prices().of("graviton2"),)
    found = cost_range(BAND, only)
    assert found.usd_per_hour == pytest.approx(2.176 / 2)
    assert found.nominal == pytest.approx(10 * 3600 / (2.176 / 2))
    assert found.as_dict()["usd_per_million_tokens"] * found.nominal == pytest.approx(1e6)
    # Least: slow end of the band, 30 % used, the whole server. Most: fast end, the vCPUs of 16 threads.
    assert found.low == pytest.approx(8 * 0.3 * 3600 / 2.176)
    assert found.high == pytest.approx(12 * 3600 / (2.176 / 4))
    sail = cost_range(replace(BAND, overhead=True), only)
    assert sail.nominal == pytest.approx(found.nominal / 1.02)
    assert sail.low == pytest.approx(found.low / 1.1)
    assert sail.high == pytest.approx(found.high)


def test_more_instances_widen_a_range_and_none_is_none():
    both = prices().all_of(["sail-n1"])
    assert [price.instance for price in both][:2] == ["aws/c6g.16xlarge", "aws/m6g.16xlarge"]
    assert cost_range(BAND, both).low < cost_range(BAND, both[:1]).low
    assert cost_range(BAND, both).nominal == cost_range(BAND, both[:1]).nominal
    assert cost_range(BAND, ()) is None
    assert cost_range(replace(BAND, threads=65), both) is None
    # The first instance lacks the memory: the next one that has it is nominal.
    large = replace(BAND, memory_bytes=200 * 2**30)
    assert cost_range(large, both).price.instance == "aws/m6g.16xlarge"


@given(st.integers(1, 4096), st.integers(1, 512), st.integers(0, 511))
def test_a_vcpu_has_its_share_of_the_memory_and_no_byte_less(gib, units, short):
    price = Price("x", ("m",), "c", "cpu", units, gib, 1.0, "s", "2026-01-01")
    for count in {units, max(1, units - short % units)}:
        held = gib * 2**30 * count // units
        assert vcpus_paid(price, 1, held, "share") == count
        if count < units:
            assert vcpus_paid(price, 1, held + 1, "share") == count + 1
    with pytest.raises(SailsimError, match="needs no"):
        vcpus_paid(price, 1, gib * 2**30 + 1024, "share")


def test_nominal_dollars_pay_for_what_does_not_work():
    only = (prices().of("graviton2"),)
    span = Span.of(CostConstants)
    idle = replace(span, nominal=replace(span.nominal, utilisation=0.7))
    full, used = cost_range(BAND, only, span), cost_range(BAND, only, idle)
    assert used.nominal == pytest.approx(0.7 * full.nominal)
    assert used.usd_per_hour == full.usd_per_hour
    record = {
        "tokens_per_s": 10.0, "low": 8.0, "high": 12.0, "kind": "cores", "cores": 16, "memory_bytes": 0.0,
        "pays": "used", "bandwidth_share": 0.5, "overhead": False,
    }  # fmt: skip
    before, after = (cost_range(Usage.of(record), only, each) for each in (span, idle))
    assert before.by_payment.keys() == after.by_payment.keys() > set()
    for payment, tokens in before.by_payment.items():
        assert after.by_payment[payment] == pytest.approx(0.7 * tokens)


@given(
    rate=st.floats(0.1, 1e4),
    threads=st.integers(1, 64),
    share=st.floats(0, 1),
    overhead=st.floats(0, 0.1),
    used=st.floats(0.3, 1),
    sail=st.booleans(),
)
def test_nominal_lies_in_its_range(rate, threads, share, overhead, used, sail):
    run = Usage(rate, rate, rate, threads, 0.0, share, sail)
    span = replace(Span.of(CostConstants), nominal=CostConstants(overhead, used))
    found = cost_range(run, prices().all_of(["sail-n1"]), span)
    assert found.low <= found.nominal * (1 + 1e-12)
    assert found.nominal <= found.high * (1 + 1e-12)


def test_own_prices_replace_the_shipped_ones(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text(HEADER + "mine,graviton2 sail-n1,c,cpu,32,64,1.5,me,2026\n")
    mine = prices(path)
    assert (mine.of("sail-n1").usd_per_hour, mine.of("sail-n1").units) == (1.5, 32)
    assert quoted([mine.of("sail-n1")]) == "mine 1.5 USD/h (me, 2026)"
    assert usd_per_hour(prices().of("v100"), threads=1) == 3.06
    with pytest.raises(SailsimError, match="has no price of v100, allowed is one of graviton2, sail-n1"):
        mine.of("v100")
