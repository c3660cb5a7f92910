"""A point takes what a notebook has at hand, and says shortly what it cannot take."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.runs.runs import runners_by_name, runs
from sailsim.analysis.studies.sweep_study import run_sweep
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.ranges import parse_numbers, parse_values, split_list, step_range
from sailsim.sim.machine.system_files import leaves_and_auto, load_system, value_of, vary
from sailsim.sim.point import Point
from sailsim.sim.step.engine import simulate, simulate_step
from sailsim.sim.study.keys import ResultKeys, point_key
from sailsim.sim.study.plan import expand
from sailsim.sim.study.store import Store
from sailsim.workloads.model_files.load import load_model

from ..examples import examples
from ..refusals import extending, refusal


def test_a_path_is_a_name_of_a_file(tmp_path):
    mine = extending(tmp_path, "sail-n1")
    choice: Any = mine  # not what the hints ask for
    assert Point(system=choice) == Point(system=str(mine))
    assert Point(model=choice).model == Point(activations=choice).activations == str(mine)


@given(st.integers(1, 65535), st.sampled_from([np.int32, np.int64, np.uint32]))
def test_a_whole_number_of_numpy_is_one(batch, kind):
    point = Point(batch=kind(batch), nbw=kind(3), kv_bits=kind(8))
    assert point == Point(batch=batch, nbw=3, kv_bits=8)
    assert {type(value) for value in (point.batch, point.nbw, point.kv_bits)} == {int}


BAD = [
    *({"batch": value} for value in (np.float64(4.0), 4.0, True, "4", np.array([1, 2]), 0)),
    *({"wbits": 9}, {"wbits": 0}, {"abits": 0}, {"seed": -1}, {"threads": 1.5}),
    *({"phase": "prefill", "prompt": 0}, {"phase": "prefill", "prompt": 1.5}),
]
SAID = [
    *((fields, rf"{[*fields][-1]} is .*; allowed is a whole number \d+\.\.\d+\.$") for fields in BAD),
    *(
        ({"nbw": nbw}, r"nbw is .*; allowed is a whole number 1\.\.6, or 'auto'\.")
        for nbw in (7, -1, True, 2.0)
    ),
    *(
        ({"kv_bits": bits}, "kv_bits is .*; allowed are 2..8, 16 or 32, and 0")
        for bits in (1, 9, 15, -1, 4.0, "4")
    ),
    ({"nbw": "most"}, r"nbw is 'most'; allowed is a whole number 1\.\.6, or 'auto'\."),
    ({"system": 3}, r"system is 3; allowed is a name or a path\.$"),
    ({"system": "sail-n2"}, r"system is 'sail-n2' \(did you mean sail-v2 or sail-n1\?\); allowed are a100"),
    ({"system": "zzz:llc.slices=16"}, r"system is 'zzz'; allowed are a100"),
    ({"model": "llama-2-7"}, r"model is 'llama-2-7' \(did you mean llama-2-7b or .*\?\); allowed is a path"),
    ({"substrate": "magic"}, "substrate is 'magic'; allowed are bit_parallel, bit_serial, row_dfm"),
    ({"weights": "q4_k_m", "wbits": 4}, "weights is 'q4_k_m' and .* allowed is one of the two"),
    ({"weights": "q4_k_m", "group_size": 32}, "weights is 'q4_k_m' and .* allowed is one of the two"),
    ({"phase": "both"}, r"phase is 'both'; allowed are decode, prefill\."),
    ({"prompt": 5}, "prompt is 5 with phase decode; allowed there is none"),
    ({"phase": "prefill", "prompt": 8, "context": 9}, "context is 9 with a prompt of 8; allowed"),
    ({"attention": "gpu"}, r"attention is 'gpu'; allowed are cores, units\."),
    ({"attention": "units"}, r"kv_bits is not given with attention on the units; allowed there is 2\.\.8"),
    ({"attention": "units", "kv_bits": 16}, "kv_bits is 16 with attention on the units; allowed"),
    ({"overlap": True}, "overlap is on with a batch of 1 in phase decode"),
    (
        {"overlap": True, "batch": 4, "phase": "prefill"},
        "overlap is on with a batch of 4 in phase pref",
    ),
    ({"overlap": "yes", "batch": 4}, r"overlap is 'yes'; allowed are true and false\."),
    ({"beyond_limit": 1}, r"beyond_limit is 1; allowed are true and false\."),
]


@pytest.mark.parametrize(("fields", "said"), SAID)
def test_what_no_point_has_is_one_sentence(fields, said):
    assert re.search(said, refusal(Point, **fields))


# --- Machines as values, and points made of others ---

CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "pim.t_prt": st.integers(0, 4),
        "pim.nbw": st.sampled_from(["auto", 2, 3]),
        "pim.clock": st.floats(1, 3),
        "pim.substrate.add": st.sampled_from([3, "8n-2"]),
        "llc.slices": st.sampled_from([8, 16]),
        "memory.type": st.just("ddr5-4800"),
    },
)


@examples(25)
@given(CHANGES, st.sampled_from(["sail-n1", "sail-v2"]))
def test_a_machine_stands_in_a_point_as_words_that_give_the_same(changes: dict[str, Any], base: str) -> None:
    machine = vary(load_system(base), changes, name="quick")
    point = Point(system=machine, model="smollm2-135m", context=64)
    assert point.system.partition(":")[0] == base
    again = load_system(point.system)
    values = [
        {path: value_of(leaf) for path, leaf in leaves_and_auto(each).items()} for each in (machine, again)
    ]
    assert values[0] == values[1]
    assert simulate(point).step_s == simulate_step(machine, load_model(point.model), point).step_s


def test_a_machine_that_no_words_say_is_refused(tmp_path):
    assert Point(system=load_system("aim-n1")).system == "aim-n1"
    machine = load_system(extending(tmp_path, "sail-n1", "pim.enabled = false"))
    assert "allowed are machines that differ in values only" in refusal(Point, system=machine)


def test_a_machine_is_a_value_of_a_grid():
    slow = vary(load_system("sail-n1"), {"pim.clock": 1})
    assert [each.system for each in expand([{"system": [slow, "sail-v2"]}])] == [
        "sail-n1:pim.clock=1",
        "sail-v2",
    ]
    assert expand([{"system": slow, "wbits": [2, 4]}])[1] == Point(system=slow, wbits=4)


def test_a_point_with_other_values_is_checked_as_a_new_one():
    point = Point(model="smollm2-135m", wbits=3, group_size=32, batch=8, nbw="auto")
    assert point.replace() == point
    assert point.replace(wbits=5) == Point(model="smollm2-135m", wbits=5, group_size=32, batch=8, nbw="auto")
    mixed = point.replace(weights="q4_k_m")
    assert mixed == Point(model="smollm2-135m", weights="q4_k_m", batch=8, nbw="auto")
    assert mixed.replace(wbits=2) == Point(model="smollm2-135m", wbits=2, batch=8, nbw="auto")
    prompts = point.replace(phase="prefill")
    assert (prompts.prompt, prompts.context) == (512, 512)
    assert prompts.replace(prompt=9).context == prompts.replace(context=9).prompt == 9
    assert prompts.replace(phase="decode") == point
    for wrong in ({"batch": 0}, {"prompt": 5}, {"weights": "q4_k_m", "wbits": 4}, {"colour": "red"}):
        assert refusal(point.replace, **wrong)


# --- Keys of results: every input counts, what a file is called does not ---


def test_a_key_depends_on_every_input(tmp_path, monkeypatch):
    path = extending(tmp_path, "sail-n1")
    base = Point(system=str(path))
    key = ResultKeys("f").result(base)
    assert ResultKeys("f").result(Point(system=str(path))) == key
    changes = {"wbits": 3, "nbw": 2, "prt": False, "seed": 1, "model": "gemma-2b"}
    others = {ResultKeys("f").result(Point(**(base.as_dict() | {k: v}))) for k, v in changes.items()}
    assert len(others | {key}) == 1 + len(changes)
    assert ResultKeys("g").result(base) != key
    extending(tmp_path, "sail-n1", "pim.enabled = false")
    assert ResultKeys("f").result(base) != key
    assert point_key(base) == point_key(Point(system=str(path)))
    monkeypatch.setattr("sailsim.sim.study.keys.code_version", lambda: "other code")
    extending(tmp_path, "sail-n1")
    assert ResultKeys("f").result(base) != key


def test_a_worker_that_sees_another_file_is_refused(tmp_path):
    path = extending(tmp_path, "sail-n1")
    point = Point(system=str(path))
    keys = ResultKeys("f")
    keys.result(point)
    guarded = keys.guard(lambda what: what)
    assert guarded(3) == 3
    extending(tmp_path, "sail-n1", "pim.enabled = false")
    with pytest.raises(
        SailsimError, match=r"mine\.toml has other content on .* than where the study was started"
    ):
        guarded(3)
    extending(tmp_path, "sail-n1")
    assert guarded(3) == 3  # a worker lives through many studies, and reads what changed again


# --- A sweep answers with its inputs as they are: never with those of an earlier moment ---


def test_what_was_asked_is_what_is_answered(tmp_path):
    """An input that is edited and edited back: the answer is that of the input as it is, never an old one."""
    path, out = tmp_path / "mine.toml", tmp_path / "out"
    point = Point(system=str(path))

    def arrays(count: int) -> int:
        more = 'unit = "arrays", source = "a test", kind = "assumed", low = 1, high = 64, note = "x"'
        extending(tmp_path, "sail-n1", f"pim.arrays = {{ value = {count}, {more} }}")
        frame = run_sweep([point], arrays_of, out, progress=False).frame()
        assert len(frame) == 1
        return int(frame["arrays"].iloc[0])

    assert [arrays(16), arrays(2), arrays(16)] == [16, 2, 16]
    assert len(Store(out).keys()) == 2
    assert Store(out).manifest["held_before"] == 1
    assert list(Store(out).frame()["arrays"]) == [16]


def edits_its_system(point: Point) -> dict[str, Any]:
    path = Path(point.system)
    found = arrays_of(point)
    if point.batch == 3:
        path.write_text(path.read_text() + "\n# another comment, perhaps another number\n")
    return found


def test_a_file_that_changes_meanwhile_ends_the_study_before_a_wrong_answer_is_kept(tmp_path):
    base, path = extending(tmp_path, "sail-n1", name="base"), extending(tmp_path, "base.toml")
    points = [Point(system=str(path), batch=batch) for batch in (1, 2, 3, 4)]
    with pytest.raises(SailsimError, match=r"mine\.toml changed while the study ran; .* is kept"):
        run_sweep(points, edits_its_system, tmp_path / "out", progress=False)
    assert len(Store(tmp_path / "out").keys()) < 3
    keys = ResultKeys("f")
    keys.result(points[0])
    assert keys.changed() is None
    extending(tmp_path, "sail-n1", "# a change", "base")
    assert keys.changed() == base


def arrays_of(point: Point) -> dict[str, Any]:
    pim = load_system(point.system).pim
    assert pim is not None
    return {"arrays": pim.arrays.whole}


# --- Contexts beyond what a model was made for are refused unless they are asked for ---

SMALL = load_model("smollm2-135m")


@pytest.mark.parametrize("ask", [simulate, runs])
def test_more_is_one_sentence_and_as_much_is_not(ask):
    assert callable(ask)
    for fields, word in (({"context": 8193}, "context"), ({"phase": "prefill", "prompt": 8193}, "prompt")):
        with pytest.raises(SailsimError, match=rf"^{word} is 8193; allowed for smollm2-135m is at most 8192"):
            ask(Point(model=SMALL.name, **fields))  # type: ignore[arg-type]
    ask(Point(model=SMALL.name, context=8192))


def test_who_asks_for_more_gets_it():
    point = Point(model=SMALL.name, context=10_000, beyond_limit=True)
    found = simulate(point)
    assert found == simulate_step(load_system("sail-n1"), SMALL, point)
    assert runs(point, runners=runners_by_name("sail"))[0].step_s == found.step_s
    assert point_key(Point(beyond_limit=False)) == point_key(Point()) != point_key(Point(beyond_limit=True))


# --- Grids: every combination once, in order; presets that ship ---


def test_every_combination_once_in_order():
    points = expand([{"wbits": [2, 4], "batch": [1, 8]}, {"wbits": 4, "batch": 8}, {"prt": [True, False]}])
    assert [(p.wbits, p.batch) for p in points[:4]] == [(2, 1), (2, 8), (4, 1), (4, 8)]
    assert points[4:] == [Point(prt=False)]  # with the PRT, W4 at batch 1 is there already
    assert len(set(points)) == len(points)


@given(st.lists(st.integers(0, 999_999_999), min_size=1))
def test_lists_come_back(numbers):
    assert parse_numbers("batch", ",".join(map(str, numbers))) == list(dict.fromkeys(numbers))


# --- Lists of values in few words ---


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("16,32,64", [16, 32, 64]),
        ("4:8", [4, 5, 6, 7, 8]),
        ("4:9:2", [4, 6, 8]),
        ("0.1:0.3:0.1", [0.1, 0.2, 0.3]),
        ("1:2:0.5", [1, 1.5, 2]),
        ("1..2/5", [1, 1.25, 1.5, 1.75, 2]),
        ("0..1/4", [0, 0.333333333, 0.666666667, 1]),
        ("1..64/7log", [1, 2, 4, 8, 16, 32, 64]),
        ("1..10/3log", [1, 3.16227766, 10]),
        ("4,4.0,2", [4, 2]),
        ("1e-3", [0.001]),
        ("true,false", [True, False]),
        ("1,true", [1, True]),
        (r"a\,b, c\\d", ["a,b", "c\\d"]),
        ("n,k", ["n", "k"]),
        ("8n-2,3", ["8n-2", 3]),
        ("./a:b.toml", ["./a:b.toml"]),
    ],
)
def test_values_of_a_text(text, values):
    found = parse_values("x", text)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    "text", ["", ",", "1,", "8:2", "1:2:0", "1:2:-1", "1:20000", "1..2/1", "2..1/3", "0..1/3log"]
)
def test_a_range_that_is_none_is_refused(text):
    for parse, words in ((parse_values, "values and ranges"), (parse_numbers, "whole numbers and ranges")):
        with pytest.raises(SailsimError, match=rf"x is '.*'; allowed are {words}"):
            parse("x", text)


@pytest.mark.parametrize("text", ["2:", ":3", "1.5", "-1", "0x4", "1;2", "4 4", "true"])
def test_what_is_no_whole_number_is_not_one_of_a_list(text):
    with pytest.raises(SailsimError, match="x is"):
        parse_numbers("x", text)


def test_steps_of_whole_numbers_and_words():
    assert parse_numbers("nbw", "2:6:2,auto", {"auto": 0}) == [2, 4, 6, 0]
    with pytest.raises(SailsimError, match="and auto"):
        parse_numbers("nbw", "2:3:0.5", {"auto": 0})


@given(
    st.lists(st.text(st.characters(exclude_characters="\\ \t", exclude_categories=["Z", "C"]), min_size=1))
)
def test_names_with_commas_come_back(names):
    escaped = ",".join(name.replace(",", r"\,") for name in names)
    assert split_list(escaped) == (names or [""])


@given(st.integers(-(10**6), 10**6), st.integers(0, 400), st.integers(1, 50))
def test_steps_are_those_of_python(first, length, step):
    assert step_range(first, first + length, step) == list(range(first, first + length + 1, step))


@given(st.text("0123456789.:/-+elog, ab=\\", max_size=20))
def test_any_text_is_values_or_a_sentence(text):
    with suppress(SailsimError):
        assert parse_values("x", text)
