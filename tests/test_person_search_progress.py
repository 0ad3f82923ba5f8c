import io

import pytest

from person_search import progress
from person_search.progress import Progress, show_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Let time pass as a test says."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def test_a_log_gets_a_plain_line_every_few_seconds(clock):
    log = io.StringIO()
    with Progress("indexing", 8, stream=log) as shown:
        for done in range(1, 9):
            clock.now += 1
            shown.update(done, f"{2 * done} people")
    assert log.getvalue().splitlines() == [
        "indexing: 3 of 8 frames, 38%, 6 people, after 3 s",
        "indexing: 6 of 8 frames, 75%, 12 people, after 6 s",
        "indexing: 8 of 8 frames, 100%, 16 people, after 8 s",
    ]


def test_a_short_task_says_nothing_in_a_log(clock):
    log = io.StringIO()
    with Progress("drawing", 2, stream=log) as shown:
        shown.update(2)
    assert log.getvalue() == ""


def test_an_unknown_total_and_a_failure(clock):
    log = io.StringIO()
    with pytest.raises(ValueError), Progress("reading", stream=log, unit="files") as shown:
        clock.now += 4
        shown.update(5)
        raise ValueError
    assert log.getvalue() == "reading: 5 files, after 4 s\n"


def test_a_terminal_gets_a_bar(clock):
    terminal = Terminal()
    with Progress("drawing", 4, stream=terminal) as shown:
        clock.now += 10
        shown.update(4, "9 people")
    text = terminal.getvalue()
    assert "\r" in text and "drawing: 100%" in text and "4/4" in text and "9 people" in text
    assert "after" not in text


def test_nothing_is_shown_where_that_is_asked_for(clock):
    terminal = Terminal()
    with Progress("drawing", 4, stream=terminal, is_shown=False) as shown:
        clock.now += 10
        shown.update(4)
    assert terminal.getvalue() == ""


def test_items_come_unchanged_and_are_counted(clock, capsys):
    def slowly():
        for item in "abc":
            clock.now += 5
            yield item

    assert list(show_progress(slowly(), "finding", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err.splitlines()[-1] == "finding: 3 of 3 frames, 100%, after 15 s"
