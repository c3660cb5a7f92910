"""What the tests of machines share."""

import pytest

from sailsim.workloads.inference.activation_file import Activations


@pytest.fixture(scope="session")
def captured() -> Activations:
    """The shipped capture, whose rows are read once."""
    return Activations.load()
