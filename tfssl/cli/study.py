"""Commands: tasks and settings beside each other, and how fast all is."""

from typing import Any

import tfssl
from tfssl.cli.options import Group, cli, command


@command("tfssl.studies.config:CompareSettings")
def compare(**arguments: Any) -> Any:
    """Pretrain on each set of tasks with each seed, and evaluate: table, figure, and what it shows."""
    return tfssl.compare(**arguments)


@command("tfssl.studies.config:SweepSettings")
def sweep(**arguments: Any) -> Any:
    """Difficulty and duration as a curve: pretext accuracy beside what a linear probe makes of it."""
    return tfssl.sweep(**arguments)


@command("tfssl.report.config:ReportSettings")
def report(**arguments: Any) -> Any:
    """Make the page of a run anew, or with several runs one page that sets them side by side."""
    return tfssl.report(**arguments)


@cli.group(cls=Group)
def bench() -> None:
    """Measure speed on this machine."""


@command("tfssl.benchmarks.config:BenchPipelineSettings", "pipeline", bench)
def bench_pipeline(**arguments: Any) -> Any:
    """Source pictures a second from files to puzzles, stage by stage; the slow one is named."""
    return tfssl.bench_pipeline(**arguments)


@command("tfssl.benchmarks.config:BenchDevicesSettings", "devices", bench)
def bench_devices(**arguments: Any) -> Any:
    """TFLite files of an export: size, latency, and what is left of the accuracy on labelled DATA.

    DATA are pictures, or a folder of sounds for files of sound.
    """
    return tfssl.bench_devices(**arguments)


@command("tfssl.benchmarks.config:BenchServingSettings", "serving", bench)
def bench_serving(**arguments: Any) -> Any:
    """`tfssl serve` under load, while versions change: latencies, throughput, requests that are lost."""
    return tfssl.bench_serving(**arguments)


@command("tfssl.auditing.config:AuditSettings")
def audit(**arguments: Any) -> Any:
    """Does a task leak its answer? Exit status 1 where it does."""
    return tfssl.audit(**arguments)
