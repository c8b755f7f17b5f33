"""Which machine is taken, and what the guest is told there."""

import machine
import pytest
import run

VMX, SVM = 1 << 5, 1 << 2


@pytest.mark.parametrize("vmx, svm, tables", [(0, 0, None), (VMX, 0, "EPT"), (0, SVM, "NPT"), (VMX, SVM, "EPT")])
def test_kvm_runs_what_its_cpuid_reports(vmx, svm, tables):
    cpuid = {(1, 0): (0, 0, vmx, 0), (0x80000001, 0): (0, 0, svm, 0)}
    assert machine.kvm_tables(cpuid) == tables
    assert machine.kvm_tables({}) is None


def targets(**lacks):
    """The real table with other answers: name=reason, None for available."""
    made = []
    for each in machine.TARGETS:
        why = lacks.get(each.name.replace("-", "_"))
        made.append(machine.Target(each.name, each.what, each.tables, lambda why=why: why, each.make))
    return made


def order(rows):
    chosen, _, others = run.choose("", rows)
    return [chosen.name, *(each.name for each in others)]


def test_make_run_prefers_ept():
    rows = targets()
    rows[0].tables = machine.EPT
    assert order(rows) == ["qemu-kvm", "bochs-ept", "qemu-npt", "bochs-npt"]
    rows[0].tables = machine.NPT
    assert order(rows) == ["bochs-ept", "qemu-kvm", "qemu-npt", "bochs-npt"]
    assert order(targets(qemu_kvm="no", bochs_ept="no")) == ["qemu-npt", "bochs-npt"]


def test_make_run_says_why():
    with pytest.raises(SystemExit, match="qemu-kvm cannot run here: too slow"):
        run.choose("qemu-kvm", targets(qemu_kvm="too slow"))
    with pytest.raises(SystemExit, match="pdp11 is not one of: qemu-kvm, bochs-ept"):
        run.choose("pdp11", targets())
    with pytest.raises(SystemExit, match="none can run here: .*bochs-ept: gone"):
        run.choose("", targets(**{name: "gone" for name in ("qemu_kvm", "bochs_ept", "qemu_npt", "bochs_npt")}))


def test_words_go_to_the_guest():
    assert machine.with_words("ram = 1\ncmdline = test=all\nx = y\n", "a b") == "ram = 1\ncmdline = test=all a b\nx = y\n"
    assert machine.with_words("ram = 1", "a") == "ram = 1\ncmdline = a\n"
    assert machine.with_words("ram = 1", "") == "ram = 1"


def test_qemu_s_warnings_about_its_cpu_model_are_no_failure(tmp_path):
    computer = machine.Qemu("disk")
    computer.directory, computer.exit_code = str(tmp_path), 1
    (tmp_path / "output.txt").write_text(machine.FEATURE_WARNING + ": CPUID.80000001H:ECX.osvw [bit 9]\n")
    assert computer.ended_well()
    (tmp_path / "output.txt").write_text("qemu-system-x86_64: could not open the disk\n")
    assert not computer.ended_well()
