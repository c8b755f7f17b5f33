"""The guest test kernel in Bochs: every group of its checks, with the image of either compiler."""

import re

import pytest

GROUPS = ["pci", "ranges", "trap", "forms", "cross", "cpu", "regs", "types", "status", "section", "dynamic", "bars",
          "overlap", "stress"]
# Checks that may be skipped where the emulated Haswell lacks what they need.
MAY_SKIP = []


def judge(boot):
    assert not boot.problems, boot.show()
    assert not boot.report.problems, "\n".join(boot.report.problems[:40]) + boot.show()


@pytest.mark.boot("all")
def test_run_as_a_whole(boot):
    """Plan, marker, end of the VM, and nothing skipped that need not be."""
    judge(boot)
    assert boot.report.stopped.startswith("the guest ended it"), boot.report.stopped
    assert list(boot.report.groups()) == GROUPS
    skipped = [str(check) for check in boot.report.skipped() if check.text not in MAY_SKIP]
    assert not skipped, skipped


@pytest.mark.boot("all")
@pytest.mark.parametrize("group", GROUPS)
def test_group(boot, group):
    checks = boot.report.groups().get(group, [])
    assert checks, f"no check of the group {group} ran" + boot.show()
    failed = [str(check) for check in checks if not check.passed]
    assert not failed, f"{len(failed)} of {len(checks)}:\n" + "\n".join(failed)


@pytest.mark.boot("all")
def test_flushes_are_carried_out(boot):
    """Bochs drops every translation at a VM entry: an INVEPT that is forgotten shows in the counts only."""
    counts = re.search(r"shoot-downs (\d+), invalidations (\d+)", boot.text())
    assert counts, "no counts of flushes" + boot.show()
    asked, done = map(int, counts.groups())
    # One INVEPT comes before the first entry. The duties of one exit (a BAR that moves) share one; each range that the
    # stress group destroys has its own.
    assert 1000 <= done <= asked + 1, counts[0]


@pytest.mark.boot("clang")
def test_the_clang_image_behaves_alike(boot):
    judge(boot)
    assert list(boot.report.groups()) == GROUPS
