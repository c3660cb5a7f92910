"""Damaged model files end in one sentence: mutated ones by the hundred, or as many as SAILSIM_FUZZ says.

A case's number says what was done to which file, so one can be repeated alone.
"""

import os
import resource
import struct
from pathlib import Path

import pytest
from hypothesis import settings
from numpy.random import Generator, default_rng

from sailsim.base.errors import SailsimError
from sailsim.workloads.model_files.gguf_model import open_gguf

from ..conftest import write_tiny_gguf

KINDS = ("Q4_0", "Q4_1", "Q8_0", "Q2_K", "F16")
ABSURD = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
GROWTH = 256 << 10
"""Most KiB that all cases together may take."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Files of each kind of tensor."""
    folder = tmp_path_factory.mktemp("fuzz")
    for kind in KINDS:
        write_tiny_gguf(folder / f"{kind}.gguf", kind=kind)
    return [(folder / f"{kind}.gguf").read_bytes() for kind in KINDS]


def header_end(content: bytes) -> int:
    """About where the tensors' bytes begin: behind the last tensor's name."""
    return content.rfind(b".weight") + 64


def mutated(content: bytes, rng: Generator) -> bytes:
    """A file with one to three changes, most of them in its header."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        end = min(header_end(content), len(changed) - 16) if rng.random() < 0.9 else len(changed) - 16
        if end <= 16:
            break
        at = int(rng.integers(0, end))
        match rng.integers(0, 7):
            case 0:  # cut short
                del changed[at:]
            case 1:  # one bit
                changed[at] ^= 1 << int(rng.integers(0, 8))
            case 2:  # a length or an offset that is absurd
                changed[at : at + 8] = struct.pack("<Q", ABSURD[rng.integers(0, len(ABSURD))])
            case 3:  # a number of 32 bits
                changed[at : at + 4] = struct.pack("<I", int(rng.integers(0, 2**32)))
            case 4:  # a piece of itself elsewhere: names twice, fields of another kind
                length, source = int(rng.integers(1, 64)), int(rng.integers(0, end))
                changed[at : at + length] = changed[source : source + length]
            case 5:  # bytes that are missing, or too many
                changed[at:at] = bytes(rng.integers(0, 256, int(rng.integers(1, 32)), dtype="u1"))
            case _:  # not a number, where a scale may be
                place = int(rng.integers(end, max(end + 1, len(changed) - 2)))
                changed[place : place + 2] = b"\x00\x7e"
    return bytes(changed)


def opened(path: Path) -> str:
    """What comes of a file: "read", or the sentence that refuses it."""
    try:
        model = open_gguf(path)
        assert model.format.census(model.spec)
        assert model.spec.n_params == sum(info.n_elements for info in model.tensors.values())
        for name in model.tensors:
            model.raw(name)
    except SailsimError as error:
        return str(error)
    return "read"


def test_a_mutated_file_is_read_or_refused_in_one_sentence(whole, tmp_path):
    cases = int(os.environ.get("SAILSIM_FUZZ", 4 * settings.default.max_examples))
    refused = 0
    path = tmp_path / "m.gguf"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case in range(cases):
        rng = default_rng([7, case])
        path.write_bytes(mutated(whole[case % len(whole)], rng))
        os.utime(path, ns=(case, case))  # a file of another time is another file
        try:
            said = opened(path)
        except Exception as error:
            raise AssertionError(f"case {case} ends in {type(error).__name__}: {error}") from error
        assert said
        assert "\n" not in said, f"case {case}: {said!r}"
        refused += said != "read"
    assert refused > cases / 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH
