"""Mixed steps: chunks of prompts beside sequences that decode, on every backend."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.backend import StepQuery, backend_of
from sailsim.sim.backends.cores import predict_cores
from sailsim.sim.machine.system_files import load_machine, load_system
from sailsim.sim.point import Point
from sailsim.sim.serve.surface import StepSurface
from sailsim.sim.software.fitted import with_host_software
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import weight_format
from sailsim.workloads.models.graph import Chunk, decode_step, mixed_step, prefill_step

from ...examples import examples

MODEL = replace(load_model("smollm2-135m"), n_layers=2)
WINDOWED = replace(MODEL, sliding_window=100, full_layers=(1,))
RUNNERS = {
    "sail-n1": ("accelerator", "lut-gemv"),
    "upmem-n1": ("accelerator", "dpu-kernels"),
    "graviton2": ("cores", "llama.cpp"),
    "altra": ("cores", "ampere"),
    "cobalt100": ("cores", "vllm"),
    "a100": ("gpu", "llama.cpp"),
    "l4": ("gpu", "serving"),
}


def asked(name: str, **point) -> StepQuery:  # type: ignore[no-untyped-def]
    kind, software = RUNNERS[name]
    system = name if kind == "accelerator" else "sail-n1"
    at = Point(system=system, model="smollm2-135m", threads=16, **point)
    whole = {"serving": "f16", "vllm": "bf16"}.get(software)
    fmt = at.formats(MODEL) if whole is None else weight_format(whole)
    return StepQuery(at, load_machine(name), MODEL, fmt, software, cores=16, hardware="")


def step(name: str, *chunks: Chunk, **point):  # type: ignore[no-untyped-def]
    request = replace(asked(name, **point), chunks=chunks)
    return backend_of(request.machine, RUNNERS[name][0]).step(request)  # type: ignore[arg-type]


SIZES = st.integers(1, 96)
CHUNK = st.builds(Chunk, SIZES, st.integers(0, 700), st.integers(1, 3))
CHUNKS = st.lists(CHUNK, min_size=1, max_size=5)
PROMPT_CHUNKS = st.lists(CHUNK.filter(lambda chunk: not chunk.decodes), min_size=1, max_size=5)
DECODING = st.builds(Chunk, st.just(1), st.integers(1, 900), st.integers(1, 3))
MACHINES = st.sampled_from(list(RUNNERS))


@given(st.integers(1, 40), st.integers(1, 5000), st.sampled_from([MODEL, WINDOWED]))
def test_a_sequence_that_decodes_is_a_piece_of_one_token(batch, tokens, model):
    """And a prompt one with nothing before it, with a window over attention too."""
    fmt = weight_format("q4_0")
    assert mixed_step(model, fmt, [Chunk(1, tokens - 1)] * batch) == decode_step(model, fmt, batch, tokens)
    assert mixed_step(model, fmt, [Chunk(tokens)] * batch) == prefill_step(model, fmt, tokens, batch)


@given(SIZES, SIZES, st.integers(0, 400), st.integers(1, 500))
def test_a_prompt_in_two_pieces_has_all_its_pairs(first, second, before, window):
    whole, *halves = Chunk(first + second, before), Chunk(first, before), Chunk(second, before + first)
    assert whole.pairs(window) == sum(chunk.pairs(window) for chunk in halves)
    seen = [min(at + 1, window) for at in range(before, whole.tokens)]
    assert whole.pairs(window) == sum(seen)


@pytest.mark.parametrize("name", RUNNERS)
def test_a_step_of_one_kind_is_the_points(name):
    for point, chunk in (
        ({"batch": 5, "context": 300}, Chunk(1, 299, 5)),
        ({"batch": 1, "context": 2}, Chunk(1, 1)),
        ({"batch": 2, "phase": "prefill", "prompt": 600}, Chunk(600, 0, 2)),
        ({"batch": 1, "phase": "prefill", "prompt": 33}, Chunk(33)),
    ):
        request = asked(name, **point)
        plain = backend_of(request.machine, RUNNERS[name][0]).step(request)
        mixed = step(name, chunk)
        assert mixed.step_s == pytest.approx(plain.step_s, rel=1e-12)
        assert mixed.tokens == plain.tokens
        assert sum(mixed.breakdown.values()) == pytest.approx(mixed.step_s)
        assert (mixed.low, mixed.high) == pytest.approx((plain.low, plain.high))


@examples(40)
@given(MACHINES, CHUNKS, st.randoms(use_true_random=False))
def test_order_and_grouping_do_not_matter(name, chunks, random):
    spread = [chunk._replace(times=1) for chunk in chunks for _ in range(chunk.times)]
    random.shuffle(spread)
    assert step(name, *spread).step_s == pytest.approx(step(name, *chunks).step_s)


@examples(40)
@given(MACHINES, CHUNKS, st.data())
def test_more_work_takes_no_less(name, chunks, data):
    """A token, a chunk or a token of context more; SAIL's layouts may gain a little by a rounder number."""
    at = data.draw(st.integers(0, len(chunks) - 1))
    chunk = chunks[at]
    more = data.draw(st.sampled_from([chunk._replace(before=chunk.before + 50), chunk._replace(times=4)]))
    if data.draw(st.booleans()) and not chunk.decodes:
        more = chunk._replace(new=chunk.new + 9)
    if more.decodes and not chunk.decodes:  # a prompt of one token is not what one that decodes is
        return
    if RUNNERS[name][0] == "gpu" and more.decodes and more.times != chunk.times:
        return  # a GPU's tile of few rows takes their mean attention, which a short sequence more lowers
    other = [*chunks[:at], more, *chunks[at + 1 :]]
    assert step(name, *other).step_s >= step(name, *chunks).step_s * (0.97 if name == "sail-n1" else 1 - 1e-9)


@examples(40)
@given(MACHINES, st.lists(DECODING, min_size=1, max_size=4), PROMPT_CHUNKS)
def test_together_takes_no_less_than_each_and_no_more_than_both(name, decoding, prompts):
    """Weights are read once for both; a GPU's parts may each be the slower one's, and SAIL gain a little."""
    both = step(name, *decoding, *prompts).step_s
    apart = [step(name, *decoding).step_s, step(name, *prompts).step_s]
    assert both >= max(apart) * (0.97 if name == "sail-n1" else 1 - 1e-9)
    if name not in ("graviton2", "altra"):  # where those that decode scan the prompts' cells too
        assert both <= sum(apart) * 1.02


def test_what_no_mixed_step_is_says_so():
    for chunks, words in (
        ((Chunk(1, 5), Chunk(0)), "new tokens is 0; allowed is 1"),
        ((Chunk(4, -1),), "tokens before a chunk are -1"),
        ((Chunk(70000),), "new tokens is 70000; allowed is at most 65535 rows"),
    ):
        with pytest.raises(SailsimError, match=words):
            step("sail-n1", *chunks)
    with pytest.raises(SailsimError, match="overlap is asked for in a mixed step"):
        step("sail-n1", Chunk(4), Chunk(1, 9), batch=2, overlap=True)
    request = replace(asked("graviton2"), software="neon", chunks=(Chunk(8), Chunk(1, 9)))
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
    chunks = *(Chunk(*each) for each in prompts), *(Chunk(1, tokens - 1) for tokens in contexts)
    near = 0.02 if RUNNERS[name][0] == "accelerator" else 0.003 if not prompts else 1e-9
    assert SURFACES[name].seconds(prompts, contexts) == pytest.approx(step(name, *chunks).step_s, rel=near)


@pytest.mark.parametrize("name", ["sail-n1", "l4"])
def test_the_surface_knows_windows(name):
    request = replace(asked(name), model=WINDOWED)
    backend = backend_of(request.machine, RUNNERS[name][0])  # type: ignore[arg-type]
    surface = StepSurface(backend, request)
    for prompts, contexts in (([(40, 90)], [20, 300, 800]), ([], [20, 300, 800]), ([(64, 0), (9, 200)], [])):
        chunks = *(Chunk(*each) for each in prompts), *(Chunk(1, tokens - 1) for tokens in contexts)
        expected = backend.step(replace(request, chunks=chunks)).step_s
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


# --- Prompts on the cores while units decode ---


def on(who: str, *chunks: Chunk, around: str = "llama.cpp"):  # type: ignore[no-untyped-def]
    request = replace(asked("sail-n1"), chunks=chunks, prefill=who, host_software=around)
    return backend_of(request.machine).step(request)


@examples(30)
@given(st.lists(DECODING, max_size=3), CHUNKS)
def test_prompts_on_the_cores_take_turns_with_what_decodes(decoding, prompts):
    """Neither is faster than by itself, and nothing is done twice; `auto` is the faster of both ways."""
    prompts = [chunk._replace(new=chunk.new + 1) for chunk in prompts]
    both, alone = on("cores", *decoding, *prompts), on("cores", *prompts)
    assert both.step_s >= alone.step_s * (1 - 1e-9)
    assert sum(both.breakdown.values()) == pytest.approx(both.step_s)
    if decoding:
        units = on("units", *decoding)
        assert units.step_s * (1 - 1e-9) <= both.step_s <= (units.step_s + alone.step_s) * 1.01
        assert both.dram_bytes == pytest.approx(units.dram_bytes + alone.dram_bytes)
        assert both.counts == units.counts
    ways = both.step_s, on("units", *decoding, *prompts).step_s
    assert on("auto", *decoding, *prompts).step_s == min(ways)


@pytest.mark.parametrize("around", ["llama.cpp", "ampere"])
@pytest.mark.parametrize("prompt", [16, 512])
def test_prompts_on_the_cores_alone_are_the_softwares(around, prompt):
    """As `predict_cores` has them, but for elementwise work, which it has in its constants."""
    model = load_model("llama-2-7b")
    point = Point(model="llama-2-7b", threads=32)
    machine = with_host_software(load_system("sail-n1"), around)
    request = StepQuery(
        point, machine, model, point.formats(model), "lut-gemv", cores=32, host_software=around
    )
    found = backend_of(machine).step(replace(request, chunks=(Chunk(prompt),), prefill="cores")).step_s
    cores = predict_cores(machine, model, request.fmt, 32, prompt=prompt, software=around).step_s  # type: ignore[arg-type]
    assert cores * 0.99 < found < cores * 1.02


def test_without_prompts_it_does_not_matter_who_multiplies_them():
    assert on("cores", Chunk(1, 99, 4)).step_s == on("units", Chunk(1, 99, 4)).step_s


def test_who_cannot_multiply_prompts_says_so():
    with pytest.raises(
        SailsimError, match="prefill is 'cores'; allowed on upmem-n1 with dpu-kernels is units"
    ):
        backend_of(load_machine("upmem-n1")).step(replace(asked("upmem-n1"), prefill="cores"))
    with pytest.raises(SailsimError, match="T-MAC's prompts"):
        on("cores", Chunk(8), around="t-mac")


@pytest.mark.slow
def test_the_surface_knows_who_multiplies_prompts():
    """Within 2 %, on the cores 3 %, and `auto` is never slower than either; a prompt's last token is
    decoded."""
    request = asked("sail-n1")
    backend, random = backend_of(request.machine), Random(7)
    surfaces = {
        who: StepSurface(backend, replace(request, prefill=who)) for who in ("units", "cores", "auto")
    }
    steps = [([(1, 1776)], [1740]), ([(1, 2020)], []), ([(64, 64)], []), ([], [9])]
    for _ in range(24):
        new = [int(2 ** random.uniform(0, 9)) for _ in range(random.randrange(1, 4))]
        prompts = [(each, random.choice([0, random.randrange(3000)])) for each in new]
        steps.append((prompts, [random.randrange(2, 4000) for _ in range(int(2 ** random.uniform(0, 6)))]))
    for prompts, contexts in steps:
        chunks = *(Chunk(*each) for each in prompts), *(Chunk(1, tokens - 1) for tokens in contexts)
        found = {who: surface.seconds(prompts, contexts) for who, surface in surfaces.items()}
        assert found["auto"] == min(found.values())
        for who, seconds in found.items():
            expected = backend.step(replace(request, chunks=chunks, prefill=who)).step_s
            near = 0.03 if who == "cores" else 0.02
            assert seconds == pytest.approx(expected, rel=near), (who, prompts, contexts)
