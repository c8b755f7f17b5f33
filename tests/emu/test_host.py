"""What the hypervisor drives itself: the log on the machine's screen, as QEMU shows it; ACPI, APIC and PCI."""

import re

import pytest


@pytest.mark.boot("host")
def test_the_log_is_on_the_screen(boot):
    """As much of the end of the log as the screen holds, cut into its lines; the newest has two empty ones below:
    the one that is next, and the one ahead of it."""
    assert boot.seen, "no picture was taken" + boot.show()
    shown = boot.seen.lines()
    columns = boot.seen.columns()
    said = [line[start:start + columns].rstrip() for line in boot.lines for start in range(0, len(line), columns)]
    held = len(shown) - 2
    assert len(said) > held and max(map(len, boot.lines)) > columns, "this log shows too little" + boot.show()
    newest = shown.index("guest| # oracle: holding")
    turned = (shown[newest + 1:] + shown[:newest + 1])
    assert turned[:2] == ["", ""]
    assert turned[2:] == said[-held:]


@pytest.mark.boot("host")
def test_two_colours(boot):
    """Ink and paper, in the right order of their bytes: the paper is blue."""
    colours = boot.seen.colours()
    assert len(colours) == 2
    red, _, blue = boot.seen.at(boot.seen.width - 1, boot.seen.height - 1)
    assert blue > red


@pytest.mark.boot("host")
def test_the_screen_is_announced(boot):
    assert boot.find("screen: 1280x800 at 0x"), boot.show(60)


@pytest.mark.boot("host")
def test_tables_are_read(boot):
    """OVMF on q35 has these; addresses as QEMU's machine is built."""
    root = boot.find("acpi: XSDT at 0x")
    assert root and {"FACP", "APIC", "MCFG"} <= set(root[0].split(": ", 2)[2].split()), boot.show(60)
    assert boot.find("acpi: 1 CPU, 0 may be added; local APICs at 0xfee00000"), boot.show(60)
    assert boot.find("acpi: PCI configuration space of buses 0 to 255 at 0xb0000000"), boot.show(60)
    assert boot.find("host: 6 PCI functions, configuration by ECAM"), boot.show(60)


@pytest.mark.boot("host")
def test_local_apic(boot):
    assert boot.find("apic: local APIC 0, version 0x14, 6 LVT entries, xAPIC at 0xfee00000"), boot.show(60)
    assert not boot.find("left behind by the firmware"), boot.show(60)


@pytest.mark.boot("host")
def test_a_real_bar_for_the_lab(boot):
    """The e1000's registers: 128 KiB."""
    said = [re.fullmatch(r"host: 00:02\.0 8086:100e BAR0 at 0x([0-9a-f]+), 0x20000 bytes: bus mastering off", line)
            for line in boot.find("host: ")]
    assert sum(map(bool, said)) == 1, boot.show(60)


@pytest.mark.boot("no-card")
def test_no_such_card(boot):
    """One line, no window, and the guest runs as ever; here there are no ACPI tables and no screen either."""
    assert len(boot.find("host: no window: this machine has no PCI function 1234:fff0")) == 1, boot.show(60)
    assert boot.find("host: 6 PCI functions, configuration by ports"), boot.show(60)
    assert not boot.find("acpi: ") and not boot.find("screen: "), boot.show(60)
    assert boot.report.passed and not boot.problems, boot.show(60)
