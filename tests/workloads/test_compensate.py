"""Compensated weights: codes of the format, and outputs nearer than with each weight at its nearest."""

import numpy as np
import pytest

from sailsim.workloads.formats import TENSOR_FORMATS, uniform_format
from sailsim.workloads.quality import compensated
from sailsim.workloads.weights import quantized


def inputs(k, rows=400):
    """Columns that move together, as a layer's do."""
    rng = np.random.default_rng(4)
    return (rng.normal(0, 1, (rows, k // 2)) @ rng.normal(0, 1, (k // 2, k))).astype(np.float32)


FORMATS = [uniform_format(4, 32).base, uniform_format(3, 0).base, uniform_format(1, 32).base]
FORMATS += [TENSOR_FORMATS[name] for name in ("q2_k", "q4_1", "mxfp4", "tq2_0", "iq4_nl", "q4_0")]


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_outputs_are_nearer_than_with_each_weight_nearest(fmt):
    values = np.random.default_rng(1).normal(0, 0.1, (256, 24)).astype(np.float32)
    x = inputs(256)
    made, plain = compensated(values, x, fmt, "here"), quantized(values, fmt, "there")
    assert (made.code, made.group_size, made.codes.shape) == (fmt.code, fmt.group_size, values.shape)
    assert made.scales.shape == plain.scales.shape
    assert (made.minima is None) == (not fmt.minimum)
    off = [np.square(x @ (weights.values() - values)).mean() for weights in (made, plain)]
    assert off[0] < 0.7 * off[1]


def test_inputs_that_have_nothing_in_common_leave_each_weight_nearest():
    fmt = uniform_format(4, 32).base
    values = np.random.default_rng(1).normal(0, 0.1, (64, 8)).astype(np.float32)
    made = compensated(values, np.eye(64, dtype=np.float32), fmt, "")
    assert (made.codes == quantized(values, fmt, "").codes).mean() > 0.99


def test_inputs_of_zeros_are_no_trouble():
    values = np.random.default_rng(1).normal(0, 0.1, (64, 8)).astype(np.float32)
    made = compensated(values, np.zeros((5, 64), np.float32), uniform_format(4, 32).base, "")
    assert np.isfinite(made.values()).all()
