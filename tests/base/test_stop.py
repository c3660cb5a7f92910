"""Ctrl-C, SIGTERM and SIGHUP end what runs once; a second one is neither heard nor cuts the words short."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sailsim.base.stop import Termination, stoppable


@pytest.fixture
def as_before() -> Iterator[None]:
    """All handlers, put back after a test that leaves its own."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Termination), (signal.SIGHUP, Termination)],
)
def test_the_first_one_raises_and_the_second_is_not_heard(
    hears_hang_up: None, number: signal.Signals, kind: type[KeyboardInterrupt]
) -> None:
    put_away = []

    def told_twice() -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)
            put_away.append(True)

    with pytest.raises(KeyboardInterrupt) as stopped, stoppable():
        told_twice()
    assert stopped.type is kind
    assert put_away


def test_afterwards_the_signals_mean_what_they_meant() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Termination), stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_of_nohup_outlives_its_terminal(as_before: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stoppable():
        signal.raise_signal(signal.SIGHUP)


def test_a_part_that_can_be_stopped_leaves_the_whole_deaf_to_a_second_one(as_before: None) -> None:
    with stoppable(ends=True):
        with pytest.raises(Termination), stoppable():
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # the default handler would end this process
    signal.raise_signal(signal.SIGTERM)


def test_a_second_signal_at_the_last_moment_leaves_the_exit_status_and_the_sentence() -> None:
    program = (
        "import signal, sys; import sailsim.cli as cli; from sailsim.cli import main\n"
        "def stopped():\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "echo = cli.click.echo\n"
        "def late(*words, **how):\n"
        "    signal.raise_signal(signal.SIGTERM); echo(*words, **how); signal.raise_signal(signal.SIGTERM)\n"
        "cli.click.echo = late\n"
        "cli.LazyGroup.get_command = lambda *_: cli.click.Command('x', callback=stopped)\n"
        "main(['run'])\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.strip()) == (143, "Stopped.")
