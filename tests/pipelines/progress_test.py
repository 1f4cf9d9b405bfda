import io

import pytest

from tfssl.pipelines import progress
from tfssl.pipelines.progress import Progress, WithoutColours, can_redraw


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Notebook(io.StringIO):
    """What standard error is in a notebook: no terminal."""

    __module__ = "ipykernel.iostream"


@pytest.fixture(autouse=True)
def _terminals_that_redraw(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def clock(monkeypatch):
    """Seconds that have passed, to be set: [0.0]."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def work(clock, count, seconds, verbose=1):
    """`count` pictures one by one, which take so long together."""
    with Progress("pictures done", "photos/", count, verbose) as said:
        for number in range(1, count + 1):
            clock[0] = seconds * number / count
            said.add(1)


def test_a_file_gets_a_line_whenever_twice_the_time_has_passed(clock, capsys):
    work(clock, 64_000, 64.0)
    lines = capsys.readouterr().err.splitlines()
    done = [int(line.split()[0].replace(",", "")) for line in lines]
    assert done == [1000, 2000, 4000, 8000, 16_000, 32_000, 64_000]
    assert lines[0] == "1,000 of 64,000 pictures done, 1 min left: photos/"
    assert lines[5] == "32,000 of 64,000 pictures done, 1 min left: photos/"
    assert lines[6] == "64,000 pictures done in 1 min: photos/"


@pytest.mark.parametrize(("seconds", "verbose"), [(0.9, 1), (64.0, 0)])
def test_nothing_is_said_of_what_is_short_and_without_verbose(clock, capsys, seconds, verbose):
    work(clock, 1000, seconds, verbose)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_one_line_written_anew(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    work(clock, 10_000, 10.0)
    said = terminal.getvalue()
    assert said.count("\n") == 1
    lines = said.removesuffix("\n").split("\r")
    assert lines[0] == ""
    assert lines[1] == "1,000 of 10,000 pictures done, 9 s left: photos/"
    # Four a second from the first second on, and the last.
    assert [int(line.split()[0].replace(",", "")) for line in lines[1:]] == [*range(1000, 10_000, 250), 10_000]
    assert lines[-2] == "9,750 of 10,000 pictures done, 1 s left: photos/".ljust(len(lines[-3]))
    assert lines[-1].rstrip() == "10,000 pictures done in 10 s: photos/"
    assert len(lines[-1]) == len(lines[-2])


def test_a_narrow_terminal_keeps_the_numbers(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "31")
    work(clock, 10, 8.0)
    lines = terminal.getvalue().removesuffix("\n").split("\r")[1:]
    assert lines[0] == "2 of 10 pictures done, 6 s lef"
    assert {len(line) for line in lines} == {30}


def test_the_line_ends_where_the_work_is_broken_off(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", terminal)

    def stopped():
        with Progress("pictures done", "photos/", 10) as said:
            clock[0] = 2.0
            said.add(4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert terminal.getvalue() == "\r4 of 10 pictures done: photos/\n"


def test_set_up_is_left_out_of_the_time_that_is_left(clock, capsys):
    with Progress("pictures done", "photos/", 100) as said:
        for clock[0], count in ((10.0, 20), (14.0, 20), (28.0, 10)):
            said.add(count)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["20 of 100 pictures done: photos/", "50 of 100 pictures done, 30 s left: photos/"]


def test_a_line_is_written_anew_where_that_can_be_seen(monkeypatch):
    assert [can_redraw(stream) for stream in (Terminal(), Notebook(), io.StringIO(), None)] == [
        True,
        True,
        False,
        False,
    ]
    monkeypatch.setenv("TERM", "dumb")
    assert not can_redraw(Terminal())


def test_a_dumb_terminal_gets_lines(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")
    work(clock, 64_000, 64.0)
    assert len(terminal.getvalue().splitlines()) == 7
    assert "\r" not in terminal.getvalue()


def test_speed_and_a_count_that_is_known_later(clock, capsys):
    with Progress("frames drawn", "film.mp4", None, speed=True) as said:
        for second in range(1, 9):
            clock[0] = float(second)
            said.count = 100 if second > 3 else None
            said.add(5)
    assert capsys.readouterr().err.splitlines() == [
        "5 frames drawn: film.mp4",
        "10 frames drawn, 5 a second: film.mp4",
        "20 of 100 frames drawn, 5 a second, 16 s left: film.mp4",
        "40 of 100 frames drawn, 5 a second, 12 s left: film.mp4",
        "40 frames drawn in 8 s: film.mp4",
    ]


def test_without_colours_all_else_is_written():
    stream = Terminal()
    plain = WithoutColours(stream)
    assert plain.write("\x1b[1m3/9\x1b[0m \x1b[32m━━\x1b[0m\b\r") == 25
    assert (stream.getvalue(), plain.isatty()) == ("3/9 ━━\b\r", True)
