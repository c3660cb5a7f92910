"""The fit of vLLM on Arm cores: what it is made of, and that what ships is what it gives."""

import pytest

from calibration.arm_problem import FEWEST_THREADS, arm_problem, run_arm
from sailsim.sim.software.fitted import fitted_constants


def test_a_token_stands_between_no_prompts_of_a_request_alone_and_others_share_theirs() -> None:
    rows = arm_problem().rows
    alone = rows.labels["alone"] == "True"
    between, generated = (rows.labels[name].astype(float) for name in ("between", "generated"))
    assert (between[alone] == 0).all()
    assert between == pytest.approx((rows.tokens - 1) / generated * (rows.labels["test"] == "tg"))
    assert rows.threads.min() == FEWEST_THREADS
    # Standard_D32plds_v6, Gemma 2B alone: (128 * 37.008 - 375.45) / 127 ms between two tokens.
    one = alone & (rows.labels["source"] == "azure/Standard_D32plds_v6/vllm/stdout")
    one &= (rows.labels["model"] == "gemma-2-2b") & (rows.labels["prompt"] == "256")
    rates = dict(zip(rows.labels["test"][one], rows.measured[one], strict=True))
    assert rates == pytest.approx({"pp": 256 / 0.37545, "tg": 127 / (128 * 0.037008 - 0.37545)})


@pytest.mark.slow
def test_what_ships_is_what_the_fit_gives() -> None:
    found, shipped = run_arm([])["constants"], fitted_constants().software("vllm", "neoverse-n2")
    assert found.keys() == shipped.constants.keys()
    for name, each in found.items():
        assert each["value"] == pytest.approx(shipped.value(name), rel=1e-3, abs=1e-9), name
