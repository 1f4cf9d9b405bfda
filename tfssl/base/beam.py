"""Work on more machines: Apache Beam, and the runner that a user names."""

import logging
import shlex
from typing import Any

from tfssl.base.errors import UserError


def require() -> Any:
    """Import Apache Beam. Raise UserError where it is missing."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it warns of clouds whose clients are not installed
    try:
        import apache_beam
    except ImportError as problem:
        raise UserError("--beam needs Apache Beam, which is not installed; pip install 'tfssl[beam]'") from problem
    finally:
        logging.disable(disabled)
    return apache_beam


def options(runner: str) -> Any:
    """Return the options of a pipeline, from 'DirectRunner' or 'FlinkRunner --flink_master=host:8081': runner first.

    Raises:
      UserError: no such runner, or Beam is missing.
    """
    require()
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners import create_runner

    words = shlex.split(runner)
    if not words or words[0].startswith("-"):
        raise UserError(f"--beam {runner!r} is given, expected a runner, as DirectRunner, and its options after it")
    try:
        create_runner(words[0])
    except (ImportError, ValueError, AttributeError) as problem:
        raise UserError(
            f"--beam {words[0]} is no runner that Beam has here; expected one, as DirectRunner"
        ) from problem
    # A pipeline is built of functions of this package alone, so nothing of the calling program has to travel.
    return PipelineOptions([f"--runner={words[0]}", *words[1:]], save_main_session=False)
