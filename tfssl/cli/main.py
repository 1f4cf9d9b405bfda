"""The entry point `tfssl`: how it ends, and what it keeps quiet.

Exit status: 0 done, 2 the input is wrong (one line on standard error), 1 anything else. TensorFlow is imported when a
command needs it, and what its native code writes to standard error goes to a file that is shown only when a command
fails unexpectedly.
"""

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator

import click

from tfssl.base.errors import UserError
from tfssl.cli.options import cli

# isort: off
# Each adds its commands, in the order of --help.
from tfssl.cli import learn, measure, deploy, apply, study
# isort: on

__all__ = ["apply", "cli", "deploy", "learn", "main", "measure", "study"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line of `tfssl`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if isinstance(sys.stdout, io.TextIOWrapper):  # which a program that calls this may have replaced
        sys.stdout.reconfigure(errors="surrogateescape")  # names that are no UTF-8 are printed as they are
    with _quiet() as chatter:
        status = _status(arguments, chatter)
    raise SystemExit(status)


def _status(arguments: list[str] | None, chatter: str) -> int:
    try:
        cli.main(arguments, prog_name="tfssl", standalone_mode=False)
        return 0
    except click.exceptions.NoArgsIsHelpError as asked:
        print(asked.format_message())
        return 2
    except click.ClickException as problem:
        where = getattr(problem, "ctx", None)
        print(f"{problem.format_message()} See: {where.command_path if where else 'tfssl'} --help", file=sys.stderr)
        return 2
    except UserError as problem:
        print(f"tfssl: {problem}", file=sys.stderr)
        return 2
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except (KeyboardInterrupt, click.Abort) as stop:
        # click turns every KeyboardInterrupt into an Abort without its words.
        print(f"tfssl: {str(stop.__cause__ or stop) or 'stopped'}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except Exception as problem:
        # Raised by TensorFlow from any command that reads records; it is not imported here to ask for the class.
        if type(problem).__name__ == "DataLossError":
            message = "a record of the data is damaged (wrong checksum); run `tfssl ingest` again into another folder"
            print(f"tfssl: {message}", file=sys.stderr)
            return 2
        import traceback

        traceback.print_exc()
        with open(chatter, errors="replace") as file:
            print("".join(file.readlines()[-20:]), end="", file=sys.stderr)
        return 1


@contextlib.contextmanager
def _quiet() -> Iterator[str]:
    """Send native code's standard error to a file, and yield its name; Python's own goes where it went.

    TF_CPP_MIN_LOG_LEVEL does not silence all of absl's start-up lines (TensorFlow 2.21). A crash of native code leaves
    the file behind: what it said last is in there.
    """
    handle, name = tempfile.mkstemp(prefix="tfssl-", suffix=".log")
    sys.stderr.flush()
    ours, before = os.dup(2), sys.stderr
    os.dup2(handle, 2)
    os.close(handle)
    sys.stderr = os.fdopen(ours, "w", buffering=1, errors="backslashreplace", closefd=False)
    try:
        yield name
    finally:
        with contextlib.suppress(BrokenPipeError):
            sys.stderr.flush()
        os.dup2(ours, 2)
        os.close(ours)
        sys.stderr = before
        os.unlink(name)
