"""The memory that a prompt takes: the file mapped, and a part of it unpacked."""

import pytest

from ...bench.counted import prompted


@pytest.mark.slow
def test_a_prompt_takes_half_as_much_again_as_the_file_and_500_mb(smollm2_path):
    """With exact counts; 283 MB when this was written."""
    ran = prompted(smollm2_path, 512)
    assert ran.tokens == 512
    assert ran.peak_bytes > smollm2_path.stat().st_size  # it is mapped, and was read; bytes
    assert ran.peak_bytes < 1.5 * smollm2_path.stat().st_size + 500e6
