"""How an install finds the package: its types, its path, and a copy of the sources without links."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
BUILD = """
import sys
from scikit_build_core.build import build_editable, build_wheel
build = {"editable": build_editable, "wheel": build_wheel}[sys.argv[1]]
# The links are looked at before anything is compiled, and paths need no compiled module.
bindings = sys.argv[1] == "wheel"
how = {"build.targets": "clean", "build-dir": "b"}
how["cmake.define.SAILSIM_BINDINGS"] = "ON" if bindings else "OFF"
print(build(sys.argv[2], how))
"""


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the checkout, in a folder with a space in its name."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    wanted = ("sailsim/", "lut_gemv/", "workloads/", "analysis/", "sim_ext/", "gem5-configs/")
    files = ("CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE", "NOTICE")
    for name in listed.stdout.split("\0"):
        if name in files or (name.startswith(wanted) and Path(name).suffix not in (".csv", ".safetensors")):
            place = tmp_path / "a folder" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place, follow_symlinks=False)
    return tmp_path / "a folder"


def built(kind: str, checkout: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """A wheel of a kind, as pip asks for it."""
    pytest.importorskip("scikit_build_core", reason="scikit-build-core is not installed")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    command = [sys.executable, "-c", BUILD, kind, str(out)]
    return subprocess.run(
        command, cwd=checkout, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_checker_outside_the_checkout_knows_the_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    mine = tmp_path / "mine.py"
    mine.write_text("from sailsim import Point, simulate\nreveal_type(simulate(Point()).tokens_per_s)\n")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), str(mine)]
    plain = {name: value for name, value in os.environ.items() if name != "MYPYPATH"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=plain, check=False)
    assert 'Revealed type is "float"' in done.stdout, done.stdout
    assert done.returncode == 0, done.stdout


def test_an_editable_install_takes_nothing_from_the_folder_above_the_checkout(
    copied: Path, tmp_path: Path
) -> None:
    """Python imports `sitecustomize` from its path: whoever may write above a checkout would run code."""
    (tmp_path / "sitecustomize.py").write_text("print('RUN')\n")
    done = built("editable", copied, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    ZipFile(tmp_path / done.stdout.split()[-1]).extractall(tmp_path / "site")
    asks = "import site, sys; site.addsitedir(sys.argv[1]); site.execsitecustomize(); import sailsim.lut_gemv"
    asks += "; print(sys.path); print(sailsim.lut_gemv.__file__)"
    command = [sys.executable, "-S", "-P", "-c", asks, str(tmp_path / "site")]
    said = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    assert "RUN" not in said
    assert f"'{copied}'" in said
    assert f"'{tmp_path}'" not in said
    assert str(copied / "sailsim" / "lut_gemv" / "__init__.py") in said


@pytest.mark.parametrize("lost", ["gone", "a text"])
def test_a_copy_without_its_links_is_refused(copied: Path, tmp_path: Path, lost: str) -> None:
    """A zip archive that pip unpacks has a file with the link's text in the link's place."""
    (copied / "sailsim" / "analysis").unlink()
    if lost == "a text":
        (copied / "sailsim" / "analysis").write_text("../analysis")
    done = built("wheel", copied, tmp_path)
    assert done.returncode != 0
    assert "sailsim/analysis is not the link to ../analysis that it has to be" in " ".join(
        (done.stdout + done.stderr).split()
    )
