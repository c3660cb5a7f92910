"""A prompt on the cores while units decode: the engine beside gem5."""

import mixed_steps
import pytest


@pytest.mark.parametrize(
    "row", mixed_steps.kept(), ids=lambda row: "-".join(row[name] for name in mixed_steps.FIELDS[:3])
)
def test_the_engine_is_within_15_percent_of_gem5(row: dict[str, str]) -> None:
    decoding, prompt, both = mixed_steps.engine(row)
    assert both == pytest.approx(float(row["step_cycles"]), rel=0.15)
    assert max(decoding, prompt) <= both <= decoding + prompt
