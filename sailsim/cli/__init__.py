"""Commands of `sailsim`. Each one parses its arguments, calls the library and prints the answer."""

from __future__ import annotations

import gc
import importlib
import os
import select
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from sailsim import __version__
from sailsim.base.errors import SailsimError, one_line, shortened
from sailsim.base.hints import did_you_mean, program
from sailsim.base.stop import Termination, stoppable

_GROUPS = {
    "One answer": {
        "run": ("answers.run:run", "Compare SAIL, cores and GPUs on one step of a model."),
        "serve": ("answers.serve:serve_", "Serve requests: latencies, rates, dollars of a service level."),
        "quality": ("answers.quality:quality", "Measure the perplexity that narrow numbers cost."),
    },
    "Many answers": {
        "sweep": ("studies.sweep:sweep", "Run many points, and keep the results in a folder."),
        "explore": ("studies.explore:explore", "Search for the fastest machine within limits."),
        "results": ("studies.results:results", "List, show, save and compare folders."),
        "report": ("studies.report:report", "Write a sweep's report, one HTML page, and its figures."),
        "claims": ("studies.claims:claims", "Test a paper's claims over all that is not published."),
    },
    "What there is": {
        "list": ("listing:list_", "List systems, substrates, models, formats and prices."),
        "show": ("listing:show", "Show one of them, with the sources of its numbers."),
    },
    "Units and programs": {
        "gemv": ("units.gemv:gemv", "Multiply two .npy files by look-up tables, exactly."),
        "activations": ("units.activations:activations", "Capture real activations, or show a capture."),
        "trace": ("units.trace:trace", "Write tiles of a model as a trace."),
        "replay": ("units.trace:replay", "Work through a trace on one unit."),
        "image": ("units.image:image", "Write a model for the AArch64 decode program."),
        "gem5": ("units.gem5:gem5", "Run programs, traces and whole tokens on gem5."),
    },
}
"""Commands by group, in the order in which a newcomer needs them: function and one-line help. A command's
module is imported when it is called, so that small commands start fast; the help imports none."""
_COMMANDS = {name: row for group in _GROUPS.values() for name, row in group.items()}


class BadInput(click.ClickException):
    """Bad input: one sentence on standard error, and exit status 2."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence, unless standard error is closed."""
        try:
            super().show(file)
        except BrokenPipeError:
            _leave_closed()


class LazyGroup(click.Group):
    """Group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in _COMMANDS:
            return None
        if cmd_name in ("run", "list", "show"):  # no large matrices: starting BLAS's threads takes 0.1 s
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        module, attribute = _COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does. Raises SailsimError with a suggestion for an unknown name."""
        if args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = did_you_mean(args[0], _COMMANDS)
            raise SailsimError(
                f"No such command {args[0]!r}{near}; allowed is one of {', '.join(_COMMANDS)}."
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in groups, without importing any."""
        for title, group in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, line) for name, (_, line) in group.items()])

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options that stand before the command's name."""
        with _one_sentence():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors become one sentence."""
        # Nearly all that a command makes stays until its end: looking for cycles less often saves a tenth.
        gc.set_threshold(100_000)
        with stoppable(ends=True), _one_sentence():
            return super().invoke(ctx)


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Turn bad input, full disks and similar errors into one sentence and exit status 2.

    Ctrl-C, SIGTERM and SIGHUP also become one sentence, with exit status 130, 143 or 129. A closed pipe, as
    after `| head`, is silent, with exit status 141 as if SIGPIPE had ended the program.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        kept = "".join(f" {note};" for note in getattr(stop, "__notes__", ()))
        again = f"`{program()} {shlex.join(sys.argv[1:])}` goes on from there." if kept else ""
        click.echo(f"Stopped.{kept} {again}".rstrip(), err=True)
        number = stop.number if isinstance(stop, Termination) else signal.SIGINT
        raise click.exceptions.Exit(128 + number) from None
    except SailsimError as error:
        raise BadInput(shortened(one_line(str(error)))) from error
    except click.UsageError as error:
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            raise
        # Click would print a usage line above the sentence; that belongs to `--help`.
        raise BadInput(shortened(one_line(error.format_message()))) from error
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _leave_closed():
            raise click.exceptions.Exit(128 + signal.SIGPIPE) from None
        where = f"{error.filename}: " if error.filename else ""
        raise BadInput(
            one_line(f"{where}{error.strerror or error}") + "; allowed is a file that can be read or a place "
            "with room to write, and what stood there before is kept."
        ) from error


def _leave_closed() -> bool:
    """Redirect standard output and error to nowhere where the reader has closed them; say if there was
    one."""
    streams = select.poll()
    for stream in (1, 2):
        streams.register(stream, 0)
    closed = [stream for stream, events in streams.poll(0) if events & (select.POLLERR | select.POLLHUP)]
    for stream in closed:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream)
        os.close(nowhere)
    return bool(closed)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True},
)
@click.version_option(__version__, prog_name="sailsim")
def main() -> None:
    """What if the last-level cache could run the quantized LLM?

    A simulator of compute-capable SRAM in every LLC slice, which runs quantized LLM layers by table
    look-up.
    Start with `sailsim run`. Commands that report take --json.
    """
