"""Queues with known answers: one server, Poisson arrivals, the mean wait by Pollaczek and Khinchine."""

import numpy as np
import pytest

from sailsim.sim.serve.loop import ServingLoop
from sailsim.sim.serve.server import SchedulerPolicy, Server
from sailsim.workloads.requests import Request, arrivals


class ByTokens:
    """A step takes a second for 100 tokens."""

    def __call__(self, prefill: list[tuple[int, int]], decode_contexts: list[int]) -> float:
        return sum(new for new, _ in prefill) / 100


def waits(count: int, prompts: np.ndarray, load: float) -> tuple[np.ndarray, float]:
    """Seconds that each request waits, and what the mean of endlessly many is."""
    service = prompts / 100
    rate = load / service.mean()
    times = arrivals(count, rate, seed=3)
    requests = [Request(time, int(n), 1) for time, n in zip(times.tolist(), prompts, strict=True)]
    out = ServingLoop(requests, [Server(ByTokens(), 100, SchedulerPolicy(sequences=1))]).run()
    expected = rate * np.mean(service**2) / (2 * (1 - load))
    return out.first_s - out.arrival_s - service, float(expected)


def drawn(kind: str, count: int) -> np.ndarray:
    if kind == "M/D/1":
        return np.full(count, 100)
    return np.random.default_rng(5).choice([20, 100, 300], count, p=[0.5, 0.4, 0.1])


@pytest.mark.parametrize("kind", ["M/D/1", "M/G/1"])
def test_the_mean_wait_is_the_known_one_within_its_own_error(kind: str) -> None:
    found, expected = waits(40_000, drawn(kind, 40_000), 0.6)
    means = found.reshape(40, -1).mean(axis=1)
    assert abs(means.mean() - expected) < 4 * means.std(ddof=1) / len(means) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["M/D/1", "M/G/1"])
def test_the_mean_wait_of_a_million_is_the_known_one_within_a_percent(kind: str) -> None:
    found, expected = waits(1_000_000, drawn(kind, 1_000_000), 0.5)
    assert found.mean() == pytest.approx(expected, rel=0.01)
