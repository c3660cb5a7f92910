"""Runners: those that ship, those of a user's file, and one sentence for a bad file."""

from pathlib import Path

import pytest

from sailsim.analysis.runs.runs import identity, read_runners, runners
from sailsim.sim.machine.system import Gpu

from ...refusals import refusal

ENTRY = {
    "name": '"mine"',
    "title": '"Mine"',
    "kind": '"cores"',
    "hardware": '"altra"',
    "software": '"ampere"',
    "source": '"a test"',
}
CARD = 'extends = "l4"\nname = "mine"\ntitle = "My GPU"\n'


def written(path: Path, **changes: str | None) -> Path:
    """A file with one runner, with other values or, for None, without them."""
    entry = {name: value for name, value in (ENTRY | changes).items() if value is not None}
    path.write_text("[[runner]]\n" + "".join(f"{name} = {value}\n" for name, value in entry.items()))
    return path


@pytest.mark.parametrize(
    ("text", "kind", "software", "threads", "overhead"),
    [
        (CARD, "gpu", "llama.cpp", "same", False),
        ('extends = "altra"\nname = "mine"\n', "cores", "llama.cpp", "all", False),
        ('extends = "sail-n1"\nname = "mine"\n', "accelerator", "lut-gemv", "same", True),
    ],
)
def test_a_machine_alone_has_its_kinds_first_software(
    tmp_path: Path, text: str, kind: str, software: str, threads: str, overhead: bool
) -> None:
    path = tmp_path / "machine.toml"
    path.write_text(text)
    (mine,) = read_runners(path)
    assert (mine.name, mine.kind, mine.software) == ("mine", kind, software)
    assert (mine.threads, mine.overhead) == (threads, overhead)


def test_what_a_result_rests_on_changes_with_the_runner_and_its_hardware(tmp_path: Path) -> None:
    assert identity(runners()) == ""
    (tmp_path / "gpu.toml").write_text(CARD)
    first = identity(runners([tmp_path / "gpu.toml"]))
    (tmp_path / "gpu.toml").write_text(CARD.replace("My GPU", "A GPU"))  # the title is in the records
    second = identity(runners([tmp_path / "gpu.toml"]))
    wide = CARD + 'l2 = { value = 96, unit = "MiB", source = "a test", kind = "paper" }\n'
    (tmp_path / "gpu.toml").write_text(wide)
    third = identity(runners([tmp_path / "gpu.toml"]))
    assert first
    assert len({first, second, third}) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": None}, ("runner mine", "source is missing")),
        ({"software": '"exo"'}, ("software is 'exo'", "llama.cpp, ampere")),
        ({"software": '"serving"'}, ("software is 'serving'", "allowed on cores")),
        ({"kind": '"tpu"'}, ("kind is 'tpu'", "'accelerator', 'cores' or 'gpu'")),
        ({"kind": '"gpu"', "software": '"serving"'}, ("hardware is 'altra', a CPU server",)),
        ({"hardware": '"l4"'}, ("hardware is 'l4', a GPU",)),
        ({"hardware": '"nosuch.toml"'}, ("nosuch.toml", "cannot be read")),
        ({"hardware": '"graviton2"', "kind": '"accelerator"', "software": '"lut-gemv"'}, ("PIM units",)),
        ({"name": '"My Runner"'}, ("name is 'My Runner'", "small letters")),
        ({"name": '"cores"'}, ("two runners have the name 'cores'",)),
        ({"format": '"q9"'}, ("format is 'q9'", "q4_k_m")),
        ({"host_software": '"ampere"'}, ("host_software is 'ampere'", "hardware is 'point'")),
        (
            {
                "kind": '"accelerator"',
                "hardware": '"sail-v2"',
                "software": '"lut-gemv"',
                "host_software": '"neon"',
            },
            ("host_software",),
        ),
        (
            {
                "kind": '"accelerator"',
                "hardware": '"point"',
                "software": '"lut-gemv"',
                "host_software": '"t-mac"',
            },
            ("t-mac",),
        ),
        (
            {
                "kind": '"accelerator"',
                "hardware": '"point"',
                "software": '"lut-gemv"',
                "host_software": '"vllm"',
            },
            ("host_software is 'vllm'",),
        ),
        ({"threads": '"half"'}, ("threads is 'half'", "'same' or 'all'")),
        ({"speed": "3"}, ("speed is not a field of a runner", "hardware")),
        ('title = "x"', ("no [[runner]], kind or provenance",)),
        ('runner = ["x"]', ("runner is 'x'",)),
        ('other = 1\n[[runner]]\nname = "x"\n', ("other is unexpected",)),
        ('kind = "tpu"\n', ("kind is 'tpu'",)),
    ],
)
def test_a_bad_runner_or_file_is_one_sentence(
    tmp_path: Path, changes: dict[str, str] | str, words: tuple[str, ...]
) -> None:
    path = tmp_path / "mine.toml"
    if isinstance(changes, str):
        path.write_text(changes)
    else:
        written(path, **changes)
    sentence = refusal(runners, [path])
    assert sentence.endswith(".")
    assert all(word in sentence for word in words), sentence


def test_a_machine_beside_has_other_values_behind_its_name_or_file(tmp_path: Path) -> None:
    (tmp_path / "gpu.toml").write_text(CARD)
    path = tmp_path / "gpu.toml"
    (mine,), (shipped,) = read_runners(f"{path}:sms=7"), read_runners("l4:sms=7")
    assert isinstance(mine.machine, Gpu)
    assert isinstance(shipped.machine, Gpu)
    assert mine.machine.sms.value == shipped.machine.sms.value == 7
    assert mine.machine.extends[0] == "mine"  # whose price it has
    file = written(tmp_path / "r.toml", kind='"gpu"', hardware='"gpu.toml:sms=9"', software='"serving"')
    (listed,) = read_runners(file)
    assert isinstance(listed.machine, Gpu)
    assert listed.machine.sms.value == 9
