"""Machines that cannot run a guest: the boot stops with one sentence that says what is missing."""

import pytest

# boot: words that one line of the console must hold, each
MISSING = {
    "neither": ["no VMX", "no SVM"],
    "neither-amd": ["no VMX", "no SVM"],
    "neither-intel": ["no VMX", "no SVM"],
    "no-ept": ["no EPT"],
    "no-npt": ["no nested paging"],
}


@pytest.mark.parametrize("boot_name", MISSING)
def test_refusal(boot, boot_name):
    assert not boot.problems, boot.show()
    sentences = [line for line in boot.lines if all(word in line for word in MISSING[boot_name])]
    assert len(sentences) == 1, boot.show()
    assert boot.lines[-1] == sentences[0], "not the last line" + boot.show()
    assert not boot.report.guest, "a guest ran" + boot.show()
    assert not boot.find("panic"), boot.show(60)


@pytest.mark.parametrize("boot_name", ["neither-amd", "neither-intel"])
def test_refusal_comes_after_acpi_two_cpus_and_memory_above_4_gib(boot, boot_name):
    assert boot.find("boot: 2 CPUs, one is used; ACPI present"), boot.show()
