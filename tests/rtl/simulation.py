"""Simulations of the RTL: a process that has many instances of it, each with a clock of its own.

The simulator's process runs `rtl_bench.py`. It takes a case as it comes through a socket, plays it and
answers, so Hypothesis draws here and shrinks what fails. An instance whose clock stands still costs nothing.
``SAILSIM_RTL_SIMULATOR`` names another simulator of cocotb than icarus (verilator), ``SAILSIM_RTL`` another
folder than rtl/.
"""

import importlib.util
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any

import pytest

SIMULATOR = os.environ.get("SAILSIM_RTL_SIMULATOR", "icarus")
RTL = Path(os.environ.get("SAILSIM_RTL", Path(__file__).parents[2] / "rtl"))
PROGRAM = {"icarus": "iverilog"}.get(SIMULATOR, SIMULATOR)
BUILD_ARGS = {"verilator": ["--no-timing", "-Wno-fatal", "-O3"]}
QUIET = {"COCOTB_LOG_LEVEL": "WARNING", "GPI_LOG_LEVEL": "WARNING", "COCOTB_REWRITE_ASSERTION_FILES": ""}


def skip_without_tools() -> None:
    """Skip the test where the simulator, cocotb or the library that it embeds is missing."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"there is no {PROGRAM} (Debian: apt-get install {PROGRAM})")
    if importlib.util.find_spec("cocotb") is None:
        pytest.skip("the package cocotb is not installed (make setup)")
    import find_libpython

    if find_libpython.find_libpython() is None:
        pytest.skip("this Python has no shared library, which a simulator embeds")


class Simulation:
    """A simulator at work: call it with an instance, a player of `rtl_bench.py` and a case for that.

    ``instances`` are module and parameters of each by its name. ``watch`` are ports, marked with an
    @, that a player reads at once, the first in the lowest bits.
    """

    def __init__(
        self,
        folder: Path,
        sources: Sequence[Path],
        instances: Mapping[str, tuple[str, Mapping[str, int]]],
        watch: Sequence[str] = (),
    ) -> None:
        from cocotb_tools.runner import get_runner

        self._runner, self._folder, self._log = get_runner(SIMULATOR), folder, folder / "log"
        lines = ["module bench;", "  logic found = 1;"]  # Verilator finds no module without signals
        for name, (module, parameters) in instances.items():
            given = ", ".join(f".{key}({n})" for key, n in parameters.items())
            lines.append(f"  {module} {f'#({given}) ' if given else ''}{name} ();")
            if watch:
                ports = ", ".join(port.replace("@", f"{name}.") for port in reversed(watch))
                lines.append(f"  wire [31:0] {name}_watch = {{{ports}}};")
        bench = folder / "bench.sv"
        bench.write_text("\n".join([*lines, "endmodule", ""]))
        try:
            self._runner.build(
                sources=[*sources, bench], hdl_toplevel="bench", build_dir=folder, timescale=("1ns", "1ns"),
                build_args=BUILD_ARGS.get(SIMULATOR, []), log_file=self._log,
            )  # fmt: skip
        except BaseException as error:
            raise AssertionError(f"the RTL does not build:\n{self._said()}") from error
        with Listener(family="AF_UNIX") as listener:
            self._thread = threading.Thread(target=self._run, args=(listener.address,), daemon=True)
            self._thread.start()
            self._link = listener.accept()

    def _run(self, address: str) -> None:
        """The simulator's process, from its start to its end; whatever becomes of it, the link is closed."""
        with suppress(BaseException):
            self._runner.test(
                test_module="rtl_bench", hdl_toplevel="bench", build_dir=self._folder, test_dir=self._folder,
                results_xml=str(self._folder / "results.xml"), extra_env=QUIET | {"BENCH_SOCKET": address},
                log_file=self._log,
            )  # fmt: skip
        with suppress(OSError):  # it died before it came to the socket
            Client(address, "AF_UNIX").close()

    def __call__(self, instance: str, player: str, **case: Any) -> Any:
        try:
            self._link.send((instance, player, case))
            answer = self._link.recv()
        except (EOFError, OSError):
            raise AssertionError(f"the simulator is gone:\n{self._said()}") from None
        assert not isinstance(answer, str), answer
        return answer

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):
            self._link.send(None)
        self._thread.join()
        self._link.close()

    def _said(self) -> str:
        return self._log.read_text()[-4000:] if self._log.exists() else ""
