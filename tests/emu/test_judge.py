"""The judge itself: what must be red is red."""

import pytest
import tap

GOOD = """\
boot: Barvisor 0.1, build 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e
boot: image at 0x1e1e7000
guest| TAP version 13
guest| 1..3
guest| ok 1 - pci: ids
guest| ok 2 - trap: read # SKIP no lab device
guest| # a comment
guest| ok 3 - trap: write
guest| # barvisor-guest: done, 2 passed, 0 failed, 1 skipped
vm: exits: 12
vm: stopped: the guest ended it through the debug-exit port
"""


MAY_SKIP = [("^trap: read", "no lab device")]
BUILD = 20 * "5e"


def report(text, may_skip=MAY_SKIP):
    return tap.Report(tap.clean(text), may_skip=may_skip)


def test_good_is_green():
    good = report(GOOD)
    assert good.problems == []
    assert list(good.groups()) == ["pci", "trap"]
    assert [check.number for check in good.skipped()] == [2]
    assert good.build == BUILD


def test_escapes_and_carriage_returns_are_no_text():
    assert report("\x1b[2J\x1b[01;01H" + GOOD.replace("\n", "\r\n")).problems == []


RED = {
    "no output": ("", "", None),
    "no plan": ("guest| 1..3\n", "", "no plan"),
    "empty plan": ("1..3", "1..0", "plan is empty"),
    "two plans": ("guest| ok 1", "guest| 1..3\nguest| ok 1", "second plan"),
    "no marker": ("guest| # barvisor-guest: done, 2 passed, 0 failed, 1 skipped\n", "", "marker"),
    "marker counts wrong": ("done, 2 passed", "done, 3 passed", "marker counts"),
    "marker counts a failure": ("done, 2 passed, 0 failed", "done, 2 passed, 1 failed", "marker counts"),
    "a check is missing": ("guest| ok 1 - pci: ids\n", "", "missing, the first is 1"),
    "the last check is missing": ("guest| ok 3 - trap: write\n", "", "missing, the first is 3"),
    "a check twice": ("guest| ok 3", "guest| ok 1", "twice"),
    "a check too many": ("guest| ok 3 -", "guest| ok 4 -", "outside the plan"),
    "not ok": ("guest| ok 3", "guest| not ok 3", "not ok 3 - trap: write"),
    "skipped without a reason": ("# SKIP no lab device", "# SKIP", "without a reason"),
    "skipped for another reason": ("# SKIP no lab device", "# SKIP tired", "may not be skipped"),
    "another check skipped": ("trap: read #", "trap: fetch #", "may not be skipped"),
    "no end": ("vm: stopped: the guest ended it through the debug-exit port\n", "", "last line"),
    "another end": ("the guest ended it through the debug-exit port", "triple fault", "triple fault"),
    "something after the end": ("debug-exit port\n", "debug-exit port\npanic: late\n", "not the last line"),
    "a guest that fakes the end": ("vm: stopped:", "guest| vm: stopped:", "last line"),
}


@pytest.mark.parametrize("name", RED)
def test_red(name):
    old, new, expected = RED[name]
    text = GOOD.replace(old, new) if old else new
    assert text != GOOD
    problems = report(text).problems
    assert problems
    assert expected is None or any(expected in problem for problem in problems), problems


def test_not_ok_names_the_check_and_its_reason():
    text = GOOD.replace("guest| ok 3 - trap: write\n", "guest| not ok 3 - trap: write\nguest| # expected 1 got 2\n")
    text = text.replace("done, 2 passed, 0 failed", "done, 1 passed, 1 failed")
    assert "not ok 3 - trap: write (expected 1 got 2)" in report(text).problems


def test_nothing_may_be_skipped_unless_listed():
    assert report(GOOD, may_skip=()).problems == ["may not be skipped here: ok 2 - trap: read # SKIP no lab device"]
