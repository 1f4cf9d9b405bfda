"""Code in a process of its own that can be signalled and killed, and that takes no time to start.

A process that imports TensorFlow takes four seconds of a core until it begins. One has imported all, and run nothing:
each of these is forked from it.
"""

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support.plain_trunk import Plain
from tfssl.cli.main import main
from tfssl.models.trunks import TRUNKS
from tfssl.training import pretrain  # noqa: F401  # for the processes that are forked

TRUNKS["plain"] = Plain

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload([__name__])


class Forked:
    """What `subprocess.Popen` is, of a function of a module and its arguments.

    Args:
      said: a folder that does not exist, for what it says.
    """

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any], said: Path):
        said.mkdir()
        self._said = said
        self._process = _FORKED.Process(target=_call, args=(function, arguments, said))
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """None while it runs, and -9 where it was killed."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self) -> tuple[str, str]:
        """Wait for its end, and return what it said on standard output and standard error."""
        self._process.join()
        return (self._said / "out").read_text(), (self._said / "err").read_text()


def command(arguments: Sequence[str], said: Path, largest_file: int = resource.RLIM_INFINITY) -> Forked:
    """Start `tfssl ARGUMENTS`. Files of more bytes than `largest_file` cannot be written, as on a full disk."""
    return Forked(_run, (arguments, largest_file), said)


def _call(function: Callable[..., Any], arguments: Sequence[Any], said: Path) -> None:
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(said / name, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    function(*arguments)


def _run(arguments: Sequence[str], largest_file: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    main(list(arguments))
