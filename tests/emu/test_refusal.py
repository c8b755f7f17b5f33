"""Machines that cannot run a guest: the boot stops with one sentence that says what is missing."""

import pytest

MISSING = {
    "no-vmx": "VMX",
    "no-ept": "EPT",
    "q35": "VMX",
}


@pytest.mark.parametrize("boot_name", MISSING)
def test_refusal(boot, boot_name):
    assert not boot.problems, boot.show()
    sentences = [line for line in boot.lines if line.startswith("vmx: ") and "no " + MISSING[boot_name] in line]
    assert sentences, boot.show()
    assert not boot.report.guest, "a guest ran" + boot.show()
    assert not boot.find("panic"), boot.show(60)


@pytest.mark.boot("q35")
def test_q35_comes_as_far_as_the_check_of_the_cpu(boot):
    """ACPI tables, two CPUs and memory above 4 GiB are no obstacle."""
    assert boot.find("boot: image at "), boot.show()
