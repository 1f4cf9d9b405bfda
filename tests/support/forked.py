"""`tfssl` in a process of its own that can be signalled and killed, and that takes no time to start.

A process that TensorFlow is imported into takes four seconds of a core. One has imported all, and run nothing: each
command is forked from it.
"""

import multiprocessing
import os
import resource
import signal
from pathlib import Path

from tests.support.plain_trunk import Plain
from tfssl.cli.main import main
from tfssl.models.trunks import TRUNKS
from tfssl.training import pretrain  # noqa: F401  # for the processes that are forked

TRUNKS["plain"] = Plain

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload([__name__])


class Command:
    """What `subprocess.Popen` is, of `tfssl ARGUMENTS`.

    Args:
      said: a folder that does not exist, for what it says.
      largest_file: in bytes. Longer ones cannot be written, as on a full disk.
    """

    def __init__(self, arguments: list[str], said: Path, largest_file: int = resource.RLIM_INFINITY):
        said.mkdir()
        self._said = said
        self._process = _FORKED.Process(target=_run, args=(arguments, said, largest_file))
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


def _run(arguments: list[str], said: Path, largest_file: int) -> None:
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(said / name, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    main(arguments)
