"""The command line answers at once, and says nothing that is not its own."""

import statistics
import subprocess
import sys
import time

import pytest

HEAVY = {"tensorflow", "keras", "numpy", "matplotlib", "sklearn", "tensorflow_datasets", "tensorflow_io"}
HELP = "import sys; sys.argv = ['tfssl', '--help']; from tfssl.cli import main; main()"


def seconds(program: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


@pytest.mark.smoke
def test_help_answers_in_half_a_second():
    seconds(HELP)  # compiles
    pairs = [(seconds("pass"), seconds(HELP)) for _ in range(7)]
    bare, helped = (statistics.median(times) for times in zip(*pairs, strict=True))
    # A bare interpreter takes 0.05 s on an idle machine; on a busy one everything takes longer by the same factor.
    allowed = 0.5 * max(1.0, bare / 0.05)
    assert helped < allowed, f"--help took {helped:.2f} s, a bare interpreter {bare:.2f} s"


@pytest.mark.smoke
@pytest.mark.parametrize("program", ["import tfssl, tfssl.pipelines, tfssl.export", HELP], ids=["import", "help"])
def test_nothing_heavy_is_imported(program):
    watched = f"try:\n    {program}\nfinally:\n    import sys; print('loaded:', *({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", watched], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]
    assert done.stderr == ""
