"""The unit in RTL against the core: results, counts and cycles, group by group."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.lut_gemv.tile import Scales, Tile, same_results
from sailsim.lut_gemv.trace_file import decode_tile, read_trace, write_trace

from ..examples import examples
from .simulation import Simulation
from .units import BUILDS, COUNTS, IDLE, WATCH, Build, Play, Played, played, plays

Runner = Callable[..., list[Played]]
Units = Callable[[list[Build]], Runner]


@pytest.fixture(scope="session")
def units(simulate: Callable[..., Simulation], tmp_path_factory: pytest.TempPathFactory) -> Units:
    """Builds units, all in one simulation, and returns what plays a tile on one of them by its number."""

    def start(builds: list[Build]) -> Runner:
        folder = tmp_path_factory.mktemp("sources")
        sources = [path for n, build in enumerate(builds) for path in build.sources(f"u{n}", folder)]
        instances = {f"u{n}": (f"sail_unit_u{n}", {}) for n in range(len(builds))}
        simulation = simulate(sources, instances, WATCH)
        fresh = set(range(len(builds)))

        def play(*plays: Play, stalls: dict[str, list[int]] = IDLE, stop: int | None = None) -> list[Played]:
            number = builds.index(plays[0].build)
            each = [play.queues() for play in plays]
            case = {
                "queues": {port: [item for one in each for item in one[port]] for port in each[0]},
                "write_backs": sum(len(play.written()) for play in plays),
                "limit": 1000 + sum(4 * play.timing().total + 400 * play.beats for play in plays),
                "stalls": stalls,
                "first": number in fresh,
                "stop": stop,
            }
            fresh.add(number)  # what fails leaves a unit that must be reset
            answer = simulation(f"u{number}", "tile", **case)
            fresh.discard(number)
            return [] if stop is not None else played(answer, plays)

        return play

    return start


def check_results(play: Play, got: Played) -> None:
    """Results to the bit, nothing behind them, and the counts of all and of each group."""
    for words, (rows, n) in zip(got.write_backs, play.written(), strict=True):
        assert not any(words[rows * n :])
        assert len(words) * 4 - rows * n * 4 < play.build.constants["PORT_BYTES"]
    assert same_results(play.result(got.write_backs), play.tile.expected())
    timing, profile = play.timing(), play.profile
    assert got.counts == {count: getattr(timing, count) for count in COUNTS}
    fed = np.stack([profile.zero, profile.hits, profile.misses], axis=1)
    assert np.array_equal(got.fed, np.tile(fed, (len(play.passes), 1)))


def check_cycles(play: Play, got: Played) -> None:
    """The core's timeline, total and phases."""
    timing = play.timing()
    assert got.timeline.tolist() == play.timeline().tolist()
    assert got.total == timing.total
    assert got.phases == {phase: getattr(timing, phase) for phase in got.phases}


NO_MINIMUM = "the RTL's conversion units have no minimum; the cores scale such tiles"
UNSUPPORTED = dict.fromkeys(("scaled_minimum", "scaled_minimum_ragged", "scaled_beyond_24_bits"), NO_MINIMUM)
"""Shared cases that do not run with conversion units; all run with conversion on the cores."""


def on_builds(tiles: Iterable[Tile]) -> tuple[list[Play], dict[str, str]]:
    """Each tile on a build of its format, a scaled one with both conversions; and why some have only one."""
    builds: dict[Any, Build] = {}
    found, left = [], {}
    for tile in tiles:
        code = tile.code
        key = (code.kind, code.wbits, code.value_bits, tile.abits, tile.signed, tile.nbw)
        for changes in [{}] if tile.scales is None else [{}, {"convert": "unit", "convert_units": 2}]:
            if changes and tile.has_minimum:
                left[tile.name] = NO_MINIMUM
                continue
            build = Build(code, tile.abits, tile.signed, tile.nbw, batch=40, changes=changes)
            found.append(Play(tile, builds.setdefault((*key, bool(changes)), build)))
    return found, left


@pytest.mark.slow
def test_shared_cases(units: Units, oracles: ModuleType, tmp_path: Path) -> None:
    """The cases of tests/oracles, as a trace brings them."""
    cases = {oracle.tile.name: oracle for oracle in oracles.load_oracles()}
    write_trace(tmp_path / "cases.trace", [oracle.tile for oracle in cases.values()])
    trace = read_trace(tmp_path / "cases.trace")
    tiles = [dataclasses.replace(decode_tile(trace, n), name=name) for n, name in enumerate(cases)]
    tile_plays, left = on_builds(tiles)
    assert left == UNSUPPORTED
    run = units(list(dict.fromkeys(play.build for play in tile_plays)))
    for play in tile_plays:
        (got,) = run(play)
        assert same_results(play.result(got.write_backs), cases[play.tile.name].result)
        check_results(play, got)
        check_cycles(play, got)


@pytest.mark.slow
def test_formats_of_models(units: Units, format_trace: Path) -> None:
    """Blocks of every weight format that model files have, with real ones among them; six outputs of each."""
    trace = read_trace(format_trace)
    tile_plays, _ = on_builds(decode_tile(trace, n).outputs(0, 6) for n in range(len(trace)))
    run = units(list(dict.fromkeys(play.build for play in tile_plays)))
    for play in tile_plays:
        (got,) = run(play)
        check_results(play, got)
        check_cycles(play, got)


@pytest.fixture(scope="session")
def run(units: Units) -> Runner:
    return units(BUILDS)


@examples(120)
@given(plays(BUILDS))
def test_any_tile(run, play):
    (got,) = run(play)
    check_results(play, got)
    check_cycles(play, got)


@pytest.mark.slow
@examples(15)
@given(st.sampled_from(BUILDS).flatmap(lambda build: st.lists(plays([build]), min_size=2, max_size=3)))
def test_tiles_that_wait_for_each_other(run, tiles):
    several = run(*tiles)
    for play, got in zip(tiles, several, strict=True):
        assert same_results(play.result(got.write_backs), play.tile.expected())
        check_cycles(play, got)
    check_results(tiles[-1], several[-1])


SOME = st.lists(st.sampled_from([0, 0, 1]), min_size=1, max_size=12).map(lambda some: [*some, 0])
ADVERSE = st.sampled_from([[0], [1, 0], [1] * 37 + [0], [0] * 3 + [1] * 50, [1] * 300 + [0] * 40])


@pytest.mark.slow
@examples(50)
@given(plays(BUILDS), SOME | ADVERSE)
def test_weights_that_come_late(run, play, stalls):
    (got,) = run(play, stalls=IDLE | {"weights": stalls})
    check_results(play, got)
    assert got.timeline.tolist() == play.expected(got.arrivals)


@pytest.mark.slow
@pytest.mark.parametrize(("build", "n"), [(0, 3), (1, 5), (2, 5), (-1, 20)])
@pytest.mark.parametrize("stalls", [[0], [1] * 300 + [0], [1] * 300 + [0, 0], [1] * 300 + [0] * 5])
def test_beats_that_come_late_and_together(run: Runner, build: int, n: int, stalls: list[int]) -> None:
    """Groups of a few short rows, later than their look-ups; and ports that activations need meanwhile."""
    made, rng = BUILDS[build], np.random.default_rng(n)
    x = rng.integers(0, 2 ** (made.abits - 1), (4, 8 * made.nbw))
    codes = rng.integers(0, made.code.legal_codes, (8 * made.nbw, n), dtype=np.uint8)
    play = Play(Tile(x, codes, made.code, made.abits, made.signed, nbw=made.nbw), made)
    (got,) = run(play, stalls=IDLE | {"weights": stalls})
    check_results(play, got)
    assert got.timeline.tolist() == play.expected(got.arrivals)


@pytest.mark.parametrize("build", [4, 7, 13])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_rows_shorter_than_a_beat(run: Runner, build: int, n: int) -> None:
    """Of which beats hold several, and parts of others; the last build converts four sums at once."""
    made, rng = BUILDS[build], np.random.default_rng(n)
    x = rng.integers(0, 2 ** (made.abits - 1), (5, 2 * made.nbw))
    codes = rng.integers(0, made.code.legal_codes, (2 * made.nbw, n), dtype=np.uint8)
    scales = Scales(rng.random((2, n)).astype(np.float16), rng.random(5).astype(np.float32))
    tile = Tile(x, codes, made.code, made.abits, made.signed, made.nbw, made.nbw, scales=scales)
    for play in (Play(tile, made), Play(dataclasses.replace(tile, group_size=0, scales=None), made)):
        (got,) = run(play)
        check_results(play, got)
        check_cycles(play, got)


@pytest.mark.slow
@examples(50)
@given(plays(BUILDS), st.fixed_dictionaries(dict.fromkeys(IDLE, SOME | ADVERSE)))
def test_stalls_of_every_port_change_no_result_and_save_no_cycle(run, play, stalls):
    (got,) = run(play, stalls=stalls)
    check_results(play, got)
    assert (got.timeline >= np.array(play.expected(got.arrivals))).all()


@pytest.mark.slow
@examples(25)
@given(plays([build for build in BUILDS if build.config.convert == "unit"], scaled=True), st.integers(9, 30))
def test_scales_that_come_late(run, play, gap):
    stalls = [*[1] * gap, 0]
    (got,) = run(play, stalls=IDLE | {"scales": stalls})
    check_results(play, got)
    assert (got.timeline >= np.array(play.expected(got.arrivals))).all()


@pytest.mark.slow
@examples(30)
@given(plays(BUILDS), st.integers(0, 2000), SOME)
def test_reset_in_the_middle_of_a_tile(run, play, cycle, stalls):
    run(play, stalls=IDLE | {"results": stalls}, stop=cycle % play.timing().total)
    (got,) = run(play)
    check_results(play, got)
    check_cycles(play, got)
