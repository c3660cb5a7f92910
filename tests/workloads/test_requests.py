"""Files of requests: what is written is read again, and what is wrong is one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.workloads.requests import (
    HASHED_TOKENS,
    LAYOUTS,
    SHIPPED,
    Layout,
    Request,
    arrivals,
    at_rate,
    read_requests,
    write_requests,
)

from ..examples import examples

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n"


@st.composite
def traces(draw: st.DrawFn) -> list[Request]:
    """In whole units of 100 ns, which the coarsest layout holds."""
    time, found = 0, []
    for _ in range(draw(st.integers(1, 8))):
        prompt = draw(st.integers(1, 3000))
        hashes = range(-(-prompt // 512) if draw(st.booleans()) else 0)
        found.append(Request(time / 1e7, prompt, draw(st.integers(1, 3000)), tuple(hashes)))
        time += draw(st.integers(0, 10**9))
    return found


@examples(200)
@given(traces(), st.sampled_from(LAYOUTS))
def test_every_layout_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, requests: list[Request], layout: Layout
) -> None:
    path = tmp_path_factory.mktemp("trace") / "file"
    write_requests(path, requests, layout)
    found = read_requests(path)
    assert [each[1:3] for each in found] == [each[1:3] for each in requests]
    assert np.allclose([each.arrival_s for each in found], [each.arrival_s for each in requests], atol=2e-7)
    assert all(a.hashes == b.hashes for a, b in zip(found, requests, strict=True)) or layout != "mooncake"


def test_the_four_layouts_as_others_write_them(tmp_path: Path) -> None:
    written = {
        "azure": AZURE + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n",
        "mooncake": '{"timestamp": 27482, "input_length": 600, "output_length": 52, "hash_ids": [46, 47]}\n'
        '{"timestamp": 30535, "input_length": 396, "output_length": 26, "hash_ids": [46]}\n',
        "vidur": "id," + VIDUR + "0,0.5,374,44\n1,4.8,396,109\n",
        "llmservingsim": '{"input_toks": 2358, "output_toks": 531, "arrival_time_ns": 0}\n'
        '{"input_toks": 1034, "output_toks": 769, "arrival_time_ns": 265091000, "input_tok_ids": [1]}\n',
    }
    expected = {
        "azure": [(0, 374, 44, ()), (4.314579, 396, 109, ())],
        "mooncake": [(0, 600, 52, (46, 47)), (3.053, 396, 26, (46,))],
        "vidur": [(0, 374, 44, ()), (4.3, 396, 109, ())],
        "llmservingsim": [(0, 2358, 531, ()), (0.265091, 1034, 769, ())],
    }
    for layout, text in written.items():
        (tmp_path / layout).write_text("# a remark\n" + text)
        found = read_requests(tmp_path / layout)
        assert [each[1:] for each in found] == [each[1:] for each in expected[layout]], layout
        assert found[1].arrival_s == pytest.approx(expected[layout][1][0], abs=1e-6), layout


@pytest.mark.parametrize("name", SHIPPED)
def test_requests_that_ship_can_be_read(name: str) -> None:
    found = read_requests(name)
    assert len(found) == 500
    assert all(len(each.hashes) in (0, -(-each.prompt // HASHED_TOKENS)) for each in found)
    assert any(each.hashes for each in found) == name.startswith("mooncake")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "begins with ''; allowed are fields TIMESTAMP"),
        ("a,b\n1,2\n", "begins with 'a,b'"),
        (AZURE, "has no request; allowed is one or more"),
        (AZURE + "2023-11-16 18:15:46,374\n", "line 2: GeneratedTokens is missing"),
        (AZURE + "2023-11-16 18:15:46,0,1\n", "line 2: ContextTokens is '0'; allowed are 1..16777216 tokens"),
        (AZURE + "2023-11-16 18:15:46,-4,1\n", "line 2: ContextTokens is '-4'"),
        (AZURE + "2023-11-16 18:15:46,1.5,1\n", "line 2: ContextTokens is '1.5'"),
        (AZURE + "2023-11-16 18:15:46,1,99999999999\n", "line 2: GeneratedTokens is '99999999999'"),
        (AZURE + "yesterday,1,1\n", "line 2: TIMESTAMP is 'yesterday'; allowed is a time like"),
        (AZURE + "2023-11-16 18:15:46,1,1\n2023-11-16 18:15:45,1,1\n", "request 2: arrival is -1 s"),
        (VIDUR + "0,1,1\n9,1,1\n5,1,1\n", "request 3: arrival is 5 s, before 9 s"),
        (VIDUR + "nan,1,1\n", "line 2: arrived_at is 'nan'; allowed is a finite number"),
        (VIDUR + "0,1,1\n1e300,1,1\n", "request 2: arrival is 1e\\+300 s; allowed is 0..1e\\+09 s"),
        ('{"timestamp": 1, "input_length": 1}\n', "line 1: output_length is missing"),
        (f'{{"timestamp": {"9" * 400}, "input_length": 1}}\n', "line 1: timestamp is '999"),
        ('{"timestamp": true, "input_length": 1}\n', "line 1: timestamp is missing"),
        ('{"timestamp": 1, "input_length": [1], "output_length": 1}\n', r"line 1: input_length is '\[1\]'"),
        ('{"timestamp": 1, "input_length": 9, "output_length": 1, "hash_ids": [1, 2]}\n', "hash_ids has 2"),
        ('{"timestamp": 1, "input_length": 9, "output_length": 1, "hash_ids": ["a"]}\n', "hash_ids is"),
        (
            '{"timestamp": 1, "input_length": 9, "output_length": 1}\n[]\n',
            r"line 2 is '\[\]'; allowed is an obj",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "trace").write_text(text)
    with pytest.raises(SailsimError, match=said) as error:
        read_requests(tmp_path / "trace")
    assert str(error.value).count("allowed") == 1


def test_a_bad_request_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(SailsimError, match="request 1: prompt is 0"):
        write_requests(tmp_path / "trace", [Request(0.0, 0, 1)], "vidur")
    with pytest.raises(SailsimError, match="layout is 'xml'"):
        write_requests(tmp_path / "trace", [Request(0.0, 1, 1)], "xml")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("burst", [0, 0.25, 1.0, 4.0])
def test_gaps_have_the_rate_and_the_variation_that_is_asked_for(burst: float) -> None:
    gaps = np.diff(arrivals(100_001, 5.0, seed=1, burst=burst))
    assert gaps.mean() == pytest.approx(0.2, rel=0.03)
    assert gaps.var() / gaps.mean() ** 2 == pytest.approx(burst, rel=0.1, abs=1e-9)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (float("nan"), 1), (1, -1), (1, 1e9)])
def test_rates_that_cannot_be_are_refused(rate: float, burst: float) -> None:
    with pytest.raises(SailsimError, match="allowed is a number"):
        arrivals(10, rate, burst=burst)


def test_a_trace_goes_round_without_sharing_what_it_did_not_share() -> None:
    requests = [Request(0.0, 600, 1, (3, 4)), Request(1.0, 20, 2, (3,))]
    found = at_rate(requests, 2.0, seed=1, count=5)
    assert [each[1:3] for each in found] == [(600, 1), (20, 2), (600, 1), (20, 2), (600, 1)]
    assert [each.hashes for each in found] == [(3, 4), (3,), (8, 9), (8,), (13, 14)]
    assert found == at_rate(requests, 2.0, seed=1, count=5)


def test_mooncake_lines_are_json(tmp_path: Path) -> None:
    write_requests(tmp_path / "trace", [Request(0.5, 20, 2, (3,))], "mooncake")
    line = json.loads((tmp_path / "trace").read_text())
    assert line == {"timestamp": 500.0, "input_length": 20, "output_length": 2, "hash_ids": [3]}
