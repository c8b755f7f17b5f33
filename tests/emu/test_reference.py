"""QEMU's own devices and ours: the same checks of the same guest kernel come out the same."""

import boots
import pytest
import reference

REFERENCES = [name for name in boots.BOOTS if name.startswith("reference@")]
OURS = [f"all@{name}" for name in boots.OFFERED]


@pytest.mark.parametrize("boot_name", REFERENCES)
def test_the_reference_agrees_with_the_checks(boot, boot_name):
    assert not boot.problems, boot.show()
    skips = {name: result for name, result in reference.outcomes(boot.report, reference.GROUPS).items()
             if result != reference.OK}
    assert skips == {name: entry[0] for name, entry in reference.DIFFERENCES.items() if entry[0] != reference.OK}
    assert set(boot.report.groups()) == set(reference.GROUPS)


@pytest.mark.parametrize("boot_name", REFERENCES)
def test_the_reference_is_complete(boot, boot_name):
    """Plan, numbers and marker."""
    allowed = [entry[0] for entry in reference.DIFFERENCES.values()]
    problems = [problem for problem in boot.report.problems
                if not any(problem.endswith(result.replace("skipped:", "# SKIP")) for result in allowed)]
    assert not problems, "\n".join(problems) + boot.show()


@pytest.mark.parametrize("boot_name", OURS)
@pytest.mark.parametrize("other", REFERENCES)
def test_ours_agree(boot, boot_name, other, boot_of):
    assert not boot.problems, boot.show()
    theirs, ours = (reference.outcomes(each.report, reference.GROUPS) for each in (boot_of(other), boot))
    problems = reference.compare(theirs, ours, reference.DIFFERENCES)
    assert not problems, "\n".join(problems)
    assert list(theirs) == list(ours), "another order"


# ---- the comparison itself: what must be red is red ----

A, B = "edu: a", "edu: b"
SKIPPED = reference.skipped("why")


@pytest.mark.parametrize("theirs, ours, table, expected", [
    ({A: "ok"}, {A: "ok"}, {}, None),
    ({A: SKIPPED}, {A: "ok"}, {A: (SKIPPED, "ok", "")}, None),
    ({A: "ok"}, {A: "not ok"}, {}, "edu: a: ok on QEMU, not ok on Barvisor"),
    ({A: "not ok"}, {A: "ok"}, {}, "edu: a: not ok on QEMU"),
    ({A: "ok", B: "ok"}, {A: "ok"}, {}, "edu: b: ok on QEMU, absent on Barvisor"),
    ({A: "ok"}, {A: "ok", B: "ok"}, {}, "edu: b: absent on QEMU, ok on Barvisor"),
    ({A: "ok"}, {A: SKIPPED}, {}, "skipped: why on Barvisor"),
    ({A: "ok"}, {A: "ok"}, {A: (SKIPPED, "ok", "")}, "does not occur: edu: a: ok on both"),
    ({A: "ok"}, {A: "ok"}, {B: (SKIPPED, "ok", "")}, "does not occur: edu: b"),
    ({A: SKIPPED}, {A: "not ok"}, {A: (SKIPPED, "ok", "")}, "not as the table has it"),
    ({A: "not ok"}, {A: "ok"}, {A: (SKIPPED, "ok", "")}, "not as the table has it"),
])
def test_comparison(theirs, ours, table, expected):
    problems = reference.compare(theirs, ours, table)
    assert bool(problems) == bool(expected), problems
    assert expected is None or any(expected in problem for problem in problems), problems
