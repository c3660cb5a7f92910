"""Advice that works where it is read."""

import shlex
import shutil
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from sailsim.base import hints
from sailsim.base.errors import SailsimError
from sailsim.base.hints import require_extra


@pytest.fixture
def typed(tmp_path: Path) -> Path:
    path = tmp_path / "a clone" / "bin" / "sailsim"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_command_outside_the_path_is_named_as_it_was_typed(
    typed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(typed)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert hints.program() == f"'{typed}'"
    monkeypatch.setenv("PATH", str(typed.parent))
    assert shutil.which("sailsim") == str(typed)
    assert hints.program() == "sailsim"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest"])
    assert hints.program() == "sailsim"


@pytest.mark.parametrize("extra", ["study", "cluster"])
def test_an_extra_is_installed_by_the_packages_that_it_names(extra: str) -> None:
    python, *words = shlex.split(hints.install_command(extra))
    assert (python, words[:3]) == (sys.executable, ["-m", "pip", "install"])
    wanted = [each.partition(";")[0] for each in requires("sailsim") or () if f'"{extra}"' in each]
    assert wanted
    assert words[3:] == wanted
    assert not any("sailsim" in each for each in words[3:])


def test_a_package_that_is_missing_is_named_with_how_to_get_it() -> None:
    with pytest.raises(SailsimError) as refused, require_extra("cluster", "a cluster"):
        raise ModuleNotFoundError(name="distributed.client")
    assert str(refused.value).startswith("distributed is not installed, which a cluster needs: ")
    assert str(refused.value).endswith(f"{hints.install_command('cluster')}.")
    with pytest.raises(ModuleNotFoundError), require_extra("cluster", "a cluster"):
        raise ModuleNotFoundError(name="sailsim.nothing")  # of our own: no advice
