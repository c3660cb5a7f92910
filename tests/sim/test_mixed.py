"""Mixed steps: pieces of prompts beside sequences that decode, on every backend."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.backend import Request, backend_of
from sailsim.sim.files import load_machine
from sailsim.sim.point import Point
from sailsim.sim.surface import StepSurface
from sailsim.workloads.formats import weight_format
from sailsim.workloads.graph import Piece, decode_step, mixed_step, prefill_step
from sailsim.workloads.load import load_model

from ..examples import examples

MODEL = replace(load_model("smollm2-135m"), n_layers=2)
WINDOWED = replace(MODEL, sliding_window=100, full_layers=(1,))
RUNNERS = {
    "sail-n1": ("accelerator", "lut-gemv"),
    "upmem-n1": ("accelerator", "dpu-kernels"),
    "graviton2": ("cores", "llama.cpp"),
    "altra": ("cores", "ampere"),
    "a100": ("card", "llama.cpp"),
    "l4": ("card", "serving"),
}


def asked(name: str, **point) -> Request:  # type: ignore[no-untyped-def]
    kind, software = RUNNERS[name]
    system = name if kind == "accelerator" else "sail-n1"
    at = Point(system=system, model="smollm2-135m", threads=16, **point)
    fmt = weight_format("f16") if software == "serving" else at.formats(MODEL)
    return Request(at, load_machine(name), MODEL, fmt, software, cores=16, hardware="")


def step(name: str, *pieces: Piece, **point):  # type: ignore[no-untyped-def]
    request = replace(asked(name, **point), pieces=pieces)
    return backend_of(request.machine, RUNNERS[name][0]).step(request)  # type: ignore[arg-type]


SIZES = st.integers(1, 96)
PIECES = st.lists(st.builds(Piece, SIZES, st.integers(0, 700), st.integers(1, 3)), min_size=1, max_size=5)
DECODING = st.builds(Piece, st.just(1), st.integers(1, 900), st.integers(1, 3))
MACHINES = st.sampled_from(list(RUNNERS))


@given(st.integers(1, 40), st.integers(1, 5000), st.sampled_from([MODEL, WINDOWED]))
def test_a_sequence_that_decodes_is_a_piece_of_one_token(batch, tokens, model):
    """And a prompt one with nothing before it, with a window over attention too."""
    fmt = weight_format("q4_0")
    assert mixed_step(model, fmt, [Piece(1, tokens - 1)] * batch) == decode_step(model, fmt, batch, tokens)
    assert mixed_step(model, fmt, [Piece(tokens)] * batch) == prefill_step(model, fmt, tokens, batch)


@given(SIZES, SIZES, st.integers(0, 400), st.integers(1, 500))
def test_a_prompt_in_two_pieces_has_all_its_pairs(first, second, before, window):
    whole, *halves = Piece(first + second, before), Piece(first, before), Piece(second, before + first)
    assert whole.pairs(window) == sum(piece.pairs(window) for piece in halves)
    seen = [min(at + 1, window) for at in range(before, whole.tokens)]
    assert whole.pairs(window) == sum(seen)


@pytest.mark.parametrize("name", RUNNERS)
def test_a_step_of_one_kind_is_the_points(name):
    for point, piece in (
        ({"batch": 5, "context": 300}, Piece(1, 299, 5)),
        ({"batch": 1, "context": 2}, Piece(1, 1)),
        ({"batch": 2, "phase": "prefill", "prompt": 600}, Piece(600, 0, 2)),
        ({"batch": 1, "phase": "prefill", "prompt": 33}, Piece(33)),
    ):
        request = asked(name, **point)
        plain = backend_of(request.machine, RUNNERS[name][0]).step(request)
        mixed = step(name, piece)
        assert mixed.step_s == pytest.approx(plain.step_s, rel=1e-12)
        assert mixed.tokens == plain.tokens
        assert sum(mixed.breakdown.values()) == pytest.approx(mixed.step_s)
        assert (mixed.low, mixed.high) == pytest.approx((plain.low, plain.high))


@examples(40)
@given(MACHINES, PIECES, st.randoms(use_true_random=False))
def test_order_and_grouping_do_not_matter(name, pieces, random):
    spread = [piece._replace(times=1) for piece in pieces for _ in range(piece.times)]
    random.shuffle(spread)
    assert step(name, *spread).step_s == pytest.approx(step(name, *pieces).step_s)


@examples(40)
@given(MACHINES, PIECES, st.data())
def test_more_work_takes_no_less(name, pieces, data):
    """A token, a piece or a token of context more; SAIL's layouts may gain a little by a rounder number."""
    at = data.draw(st.integers(0, len(pieces) - 1))
    piece = pieces[at]
    more = data.draw(st.sampled_from([piece._replace(before=piece.before + 50), piece._replace(times=4)]))
    if data.draw(st.booleans()) and not piece.decodes:
        more = piece._replace(new=piece.new + 9)
    if more.decodes and not piece.decodes:  # a prompt of one token is not what one that decodes is
        return
    other = [*pieces[:at], more, *pieces[at + 1 :]]
    assert step(name, *other).step_s >= step(name, *pieces).step_s * (0.97 if name == "sail-n1" else 1 - 1e-9)


@examples(40)
@given(MACHINES, st.lists(DECODING, min_size=1, max_size=4), PIECES)
def test_together_takes_no_less_than_each_and_no_more_than_both(name, decoding, prompts):
    """Weights are read once for both; a card's parts may each be the slower one's, and SAIL gain a little."""
    both = step(name, *decoding, *prompts).step_s
    apart = [step(name, *decoding).step_s, step(name, *prompts).step_s]
    assert both >= max(apart) * (0.97 if name == "sail-n1" else 1 - 1e-9)
    if name not in ("graviton2", "altra"):  # where those that decode scan the prompts' cells too
        assert both <= sum(apart) * 1.02


def test_what_no_mixed_step_is_says_so():
    for pieces, words in (
        ((Piece(1, 5), Piece(0)), "new tokens is 0; allowed is 1"),
        ((Piece(4, -1),), "tokens before a piece are -1"),
        ((Piece(70000),), "new tokens is 70000; allowed is at most 65535 rows"),
    ):
        with pytest.raises(SailsimError, match=words):
            step("sail-n1", *pieces)
    with pytest.raises(SailsimError, match="overlap is asked for in a mixed step"):
        step("sail-n1", Piece(4), Piece(1, 9), batch=2, overlap=True)
    request = replace(asked("graviton2"), software="neon", pieces=(Piece(8), Piece(1, 9)))
    with pytest.raises(SailsimError, match="decode alone; allowed for phase prefill"):
        backend_of(request.machine).step(request)


SURFACES: dict[str, StepSurface] = {}
PROMPTS = st.lists(st.tuples(SIZES, st.integers(0, 3000)), max_size=3)
CONTEXTS = st.lists(st.integers(2, 3000), max_size=40)


@examples(60)
@given(MACHINES, PROMPTS, CONTEXTS)
def test_the_surface_is_the_step(name, prompts, contexts):
    """Within 2 % on units; of a formula, what decodes alone is nearly and all else is wholly exact."""
    if not prompts and not contexts:
        return
    request = asked(name)
    if name not in SURFACES:
        SURFACES[name] = StepSurface(backend_of(request.machine, RUNNERS[name][0]), request)  # type: ignore[arg-type]
    pieces = *(Piece(*each) for each in prompts), *(Piece(1, tokens - 1) for tokens in contexts)
    near = 0.02 if RUNNERS[name][0] == "accelerator" else 0.003 if not prompts else 1e-9
    assert SURFACES[name].seconds(prompts, contexts) == pytest.approx(step(name, *pieces).step_s, rel=near)


@pytest.mark.parametrize("name", ["sail-n1", "l4"])
def test_the_surface_knows_windows(name):
    request = replace(asked(name), model=WINDOWED)
    backend = backend_of(request.machine, RUNNERS[name][0])  # type: ignore[arg-type]
    surface = StepSurface(backend, request)
    for prompts, contexts in (([(40, 90)], [20, 300, 800]), ([], [20, 300, 800]), ([(64, 0), (9, 200)], [])):
        pieces = *(Piece(*each) for each in prompts), *(Piece(1, tokens - 1) for tokens in contexts)
        expected = backend.step(replace(request, pieces=pieces)).step_s
        assert surface.seconds(prompts, contexts) == pytest.approx(expected, rel=0.02)


def test_a_surface_refuses_as_a_step_does():
    request = asked("graviton2")
    backend = backend_of(request.machine)
    with pytest.raises(SailsimError, match="threads is 99, allowed is"):
        StepSurface(backend, replace(request, cores=99))
    tables = StepSurface(backend, replace(request, software="t-mac"))
    assert tables.seconds([], [100]) > 0
    for prompts, contexts, words in (
        ([(9, 0)], [4], "T-MAC's prompts"),
        ([], [], "new tokens of a step is 0"),
    ):
        with pytest.raises(SailsimError, match=words):
            tables.seconds(prompts, contexts)
