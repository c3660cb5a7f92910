"""Dollars: shares, overhead, and refused price files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis import prices, tokens_per_dollar, usd_per_hour, usd_per_million_tokens, vcpus_paid
from sailsim.analysis.cost import quoted
from sailsim.errors import SailsimError
from sailsim.sim import card_names, load_system, system_names

HEADER = "instance,machines,chip,kind,units,memory_gib,usd_per_hour,source,date\n"


def test_every_cpu_system_has_a_price_and_only_cards_without_one_are_missing():
    shipped = prices()
    assert all(shipped.first([name, *load_system(name).extends]) for name in system_names())
    assert {name for name in card_names() if not shipped.has(name)} == {"a100", "h100"}
    with pytest.raises(SailsimError, match=r"no price of h100.*allowed"):
        shipped.of("h100")


def test_share_and_whole_of_a_server():
    price = prices().of("graviton2")
    assert price.usd_per_hour == 2.176
    assert usd_per_hour(price, threads=16) == pytest.approx(2.176 / 4)
    assert usd_per_hour(price, threads=16, sizing="whole") == pytest.approx(2.176)
    assert usd_per_hour(price, threads=64, overhead=0.02) == pytest.approx(2.176 * 1.02)
    # 2 GiB a vCPU: forty GiB of weights need twenty.
    assert vcpus_paid(price, 4, 40 * 2**30, "share") == 20


def test_a_gpu_is_paid_whole():
    assert usd_per_hour(prices().of("v100"), threads=1) == 3.06


@given(st.floats(0.01, 1e5), st.floats(0.01, 100))
def test_tokens_and_dollars_are_inverse(rate, usd):
    assert tokens_per_dollar(rate, usd) * usd_per_million_tokens(rate, usd) == pytest.approx(1e6)
    assert tokens_per_dollar(rate, 2 * usd) == pytest.approx(tokens_per_dollar(rate, usd) / 2)


def test_runs_that_no_instance_holds_are_refused():
    price = prices().of("graviton2")
    with pytest.raises(SailsimError, match=r"64 vCPUs.*80 threads"):
        usd_per_hour(price, threads=80)
    with pytest.raises(SailsimError, match=r"64 vCPUs.*200 GiB"):
        usd_per_hour(price, threads=1, memory_bytes=200 * 2**30)


@pytest.mark.parametrize("usd", ["0.0", "0", "-1", "", "nan", "inf", "free"])
def test_a_price_that_is_none_is_refused(tmp_path, usd):
    path = tmp_path / "prices.csv"
    path.write_text(f"{HEADER}x/y,graviton2,chip,cpu,64,128,{usd},somewhere,2025\n")
    with pytest.raises(SailsimError, match=r"x/y: usd_per_hour.*above 0"):
        prices(path)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("x,g,c,tpu,64,128,1,s,d", "kind"),
        ("x,g,c,cpu,0,128,1,s,d", "units"),
        ("x,g,c,cpu,1.5,128,1,s,d", "units"),
        ("x,g,c,cpu,64,0,1,s,d", "memory_gib"),
        ("x,g,c,cpu,64,128,1,,d", "source"),
        ("x,g,c,cpu,64,128,1,s,", "date"),
        ("x,g", "kind"),
    ],
)
def test_a_bad_row_names_its_field(tmp_path, row, field):
    path = tmp_path / "prices.csv"
    path.write_text(HEADER + row + "\n")
    with pytest.raises(SailsimError, match=field):
        prices(path)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "a,b\n1,2\n", HEADER])
def test_a_file_that_is_no_price_list_is_refused(tmp_path, text):
    path = tmp_path / "prices.csv"
    path.write_text(text)
    with pytest.raises(SailsimError, match="allowed"):
        prices(path)
    with pytest.raises(SailsimError, match="cannot be read"):
        prices(tmp_path / "none.csv")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SailsimError, match="cannot be read"):
        prices(path)


def test_own_prices_replace_the_shipped_ones(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text(HEADER + "mine,graviton2 sail-n1,c,cpu,32,64,1.5,me,2026\n")
    mine = prices(path)
    assert mine.of("sail-n1").usd_per_hour == 1.5
    assert mine.of("sail-n1", "mine").units == 32
    assert quoted([mine.of("sail-n1")]) == "mine 1.5 USD/h (me, 2026)"
    with pytest.raises(SailsimError, match="instance is 'other'"):
        mine.of("sail-n1", "other")
