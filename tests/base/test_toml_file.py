"""Whatever stands in a TOML file, it is a table or one sentence."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.base.toml_file import MAX_BYTES, MAX_DEPTH, read_toml


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(SailsimError) as error:
        read_toml(path, "model")
    sentence = str(error.value)
    assert sentence.startswith(f"model file {path} ")
    assert "\n" not in sentence
    return sentence


def test_what_cannot_be_followed_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    for nested in (b"x = " + b"[" * 2000 + b"]" * 2000, b".".join([b"a"] * 2000) + b" = 1"):
        assert refused(path, nested).endswith("deep; allowed is a TOML file with less.")
    assert "is not TOML" in refused(path, b"x = " + b"9" * 5000)
    assert "larger than" in refused(path, b"#" * (MAX_BYTES + 1))
    for broken in (b"\xff\xfe", b"x = [", b"x = 1\nx = 2\n", b"\x00" * 9):
        assert "is not TOML" in refused(path, broken)
    with pytest.raises(SailsimError, match=r"model file .*none.toml cannot be read"):
        read_toml(tmp_path / "none.toml", "model")
    with pytest.raises(SailsimError, match="cannot be read"):
        read_toml(tmp_path, "model")


def test_a_whole_number_has_64_bits(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    for number in (1 << 63, -(1 << 63) - 1, 10**400):
        assert "has 'a.b' as a whole number of more" in refused(path, f"[a]\nb = {number}\n".encode())
        assert "has 'c' as" in refused(path, f"c = [[1], [[{number}]]]\n".encode())
    path.write_text(f"least = {-(1 << 63)}\nmost = {(1 << 63) - 1}\n")
    assert read_toml(path, "model") == {"least": -(1 << 63), "most": (1 << 63) - 1}


def test_as_deep_as_allowed_and_no_deeper(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    key = ["a"] * MAX_DEPTH
    path.write_text(".".join(key) + " = 1\n")
    assert read_toml(path, "model")["a"]["a"]
    refused(path, f"{'.'.join(key)}.a = 1\n".encode())
    path.write_bytes(b"x = 1\n".ljust(MAX_BYTES, b"#"))
    assert read_toml(path, "model") == {"x": 1}


@given(st.binary(max_size=60))
def test_any_bytes_are_a_table_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "m.toml"
    path.write_bytes(content)
    try:
        assert isinstance(read_toml(path, "model"), dict)
    except SailsimError as error:
        sentence = str(error)
    else:
        sentence = "a table"
    assert len(sentence.splitlines()) == 1
