"""Simulations of the RTL that tests share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from hypothesis import Phase, settings

from .simulation import Simulation, skip_without_tools

# What only asks whether anything fails does not ask for the smallest case.
settings.register_profile("unshrunk", settings.get_profile("quick"), phases=(Phase.explicit, Phase.generate))


@pytest.fixture(scope="session")
def simulate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Simulation]]:
    """Builds and starts a simulation, which ends with the session."""
    skip_without_tools()
    with ExitStack() as running:

        def start(*what: Any) -> Simulation:
            folder = tmp_path_factory.mktemp("rtl")
            return running.enter_context(closing(Simulation(folder, *what)))

        yield start
