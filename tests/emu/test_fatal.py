"""What a guest does ends at worst its own VM: a report that names the cause, and an orderly end."""

import boots
import pytest

CAUSES = {
    "fetch": "instruction fetch from a page that is not executable memory",
    "noexec": "instruction fetch from a page that is not executable memory",
    "triple": "triple fault",
    "walk": "a guest page table lies in memory that cannot hold one",
    "pause": "paused by a device that did not resume it",
    "reset": "the guest reset the machine",
    "poweroff": "the guest switched the machine off",
    "hlt": "the guest halted and nothing can wake it",
}


@pytest.mark.parametrize("boot_name", [f"{run}@{name}" for name in boots.OFFERED for run in boots.FATAL])
def test_fatal(boot, boot_name):
    cause = CAUSES[boot_name.split("@")[0]]
    assert not boot.problems, boot.show()
    assert boot.report.stopped is not None, "no 'vm: stopped: ...'" + boot.show()
    assert boot.report.stopped.startswith(cause), boot.report.stopped
    assert boot.lines[-1].startswith("vm: stopped:"), boot.show()
    # The guest gets no further than the deed, and the hypervisor itself does not fall.
    assert boot.report.marker is None, boot.show()
    assert not boot.find("panic"), boot.show(60)
    # Registers and code are in the report, unless there is nothing to explain.
    assert bool(boot.find("rip")) != boot_name.startswith("poweroff@"), boot.show(60)
