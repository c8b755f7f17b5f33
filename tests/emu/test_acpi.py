"""The ACPI tables that a guest finds, as ACPICA reads them: disassembled, compiled again, and run.

The guest prints every table; each is a file for iasl and acpiexec.
"""

import os
import re
import struct
import subprocess

import pytest

BOOT = "tables@qemu-npt"
WINDOWS = {"io": (0xc000, 0xffff), "memory32": (0xc0000000, 0xfdffffff)}
OSC_UUID = "33DB4D5B-1FF7-401C-9657-7441C03DD766"


def printed(boot):
    """{address: bytes} of the lines "# table <address>" and "# bytes <hex>"."""
    found, address = {}, None
    for line in boot.report.guest:
        match = re.match(r"# table 0x([0-9a-f]+)$", line)
        if match:
            address = int(match[1], 16)
            found[address] = b""
        match = re.match(r"# bytes ([0-9a-f]+)$", line)
        if match:
            found[address] += bytes.fromhex(match[1])
    return found


def run(directory, *words):
    done = subprocess.run(words, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
                          timeout=60)
    assert done.returncode == 0, done.stdout
    return done.stdout


class Tables:
    def __init__(self, directory, found):
        self.directory = directory
        self.found = found
        self.by_name = {}
        for content in found.values():
            name = content[:4].decode()
            if name != "RSD ":
                self.by_name[name] = content
                with open(os.path.join(directory, name.lower() + ".dat"), "wb") as file:
                    file.write(content)

    def disassemble(self, name):
        said = run(self.directory, "iasl", "-d", f"{name.lower()}.dat")
        assert not re.search(r"error|warning|invalid|incorrect", said, re.I), said
        with open(os.path.join(self.directory, f"{name.lower()}.dsl"), errors="replace") as file:
            return file.read()

    def execute(self, *commands):
        return run(self.directory, "acpiexec", "-b", ";".join(commands), "dsdt.dat")


@pytest.fixture
def tables(boot, tmp_path):
    assert not boot.problems, boot.show()
    assert not boot.report.problems, "\n".join(boot.report.problems) + boot.show()
    return Tables(str(tmp_path), printed(boot))


@pytest.mark.boot(BOOT)
def test_the_guest_finds_these(tables):
    assert set(tables.by_name) == {"XSDT", "FACP", "APIC", "MCFG", "DSDT"}
    first = tables.found[min(tables.found)]
    assert first[:8] == b"RSD PTR " and first[15] == 2
    assert struct.unpack_from("<Q", first, 24)[0] in tables.found


@pytest.mark.boot(BOOT)
@pytest.mark.parametrize("name", ["XSDT", "FACP", "APIC", "MCFG"])
def test_data_tables_are_understood(tables, name):
    text = tables.disassemble(name)
    assert f'Signature : "{name}"' in text
    assert not re.search(r"incorrect checksum|unknown|invalid|\*\*\*", text, re.I), text


def field(text, name):
    values = re.findall(rf"^(?:\[.*?\])? *{re.escape(name)} : *(.*?) *$", text, re.M)
    assert values, f"no field {name} in {text}"
    return values[0]


@pytest.mark.boot(BOOT)
def test_fadt_field_by_field(tables):
    text = tables.disassemble("FACP")
    for name, value in {
        "Revision": "06", "Hardware Reduced (V5)": "1", "Reset Register Supported (V2)": "1",
        "WBINVD instruction is operational (V1)": "1", "WBINVD flushes all caches (V1)": "0",
        "All CPUs support C1 (V1)": "1", "Control Method Power Button (V1)": "1",
        "Control Method Sleep Button (V1)": "1", "RTC wake not in fixed reg space (V1)": "1",
        "32-bit PM Timer (V1)": "0", "Headless - No Video (V3)": "0", "Use Platform Timer (V4)": "0",
        "Legacy Devices Supported (V2)": "0", "8042 Present on ports 60/64 (V2)": "0",
        "VGA Not Present (V4)": "1", "MSI Not Supported (V4)": "0", "CMOS RTC Not Present (V5)": "1",
        "Value to cause reset": "06", "SCI Interrupt": "0000", "FACS Address": "00000000",
    }.items():
        assert field(text, name) == value, name
    registers = re.findall(r"^\[.*?\] +([\w ]+) : \[Generic Address Structure\].*?Address : ([0-9A-F]{16})$", text,
                           re.M | re.S)
    used = {name: int(address, 16) for name, address in registers if int(address, 16)}
    assert used == {"Reset Register": 0xcf9, "Sleep Control Register": 0x600, "Sleep Status Register": 0x601}


@pytest.mark.boot(BOOT)
def test_dsdt_compiles_again_to_the_same(tables):
    """No error, no warning, no remark; and ours was as short as a compiler's."""
    source = tables.disassemble("DSDT")
    said = run(tables.directory, "iasl", "-p", "again", "dsdt.dsl")
    assert re.search(r"\b0 Errors, 0 Warnings, 0 Remarks\b", said), said + source
    with open(os.path.join(tables.directory, "again.aml"), "rb") as file:
        again = file.read()
    ours = tables.by_name["DSDT"]
    assert len(again) == len(ours)
    # iasl leaves the checksum of an end tag open, and writes itself into the header.
    differs = [at for at in range(36, len(ours)) if again[at] != ours[at]]
    assert all(ours[at - 1] == 0x79 and again[at] == 0 for at in differs), [hex(at) for at in differs]
    assert len(differs) == 3


@pytest.mark.boot(BOOT)
def test_s5(tables):
    said = tables.execute("evaluate \\_S5")
    assert re.search(r"Package\] Contains 4 Elements", said), said
    values = re.findall(r"\[Integer\] = ([0-9A-F]{16})", said)
    assert [int(value, 16) for value in values[:4]] == [5, 5, 0, 0], said


@pytest.mark.boot(BOOT)
def test_host_bridge(tables):
    source = tables.disassemble("DSDT")
    bridge = source[source.index("Device (PCI0)"):source.index("Device (BRD0)")]
    assert 'Name (_HID, EisaId ("PNP0A08")' in bridge and 'Name (_CID, EisaId ("PNP0A03")' in bridge
    for name in ("_SEG", "_BBN", "_UID"):
        assert f"Name ({name}, Zero)" in bridge
    said = tables.execute("resources \\_SB.PCI0")
    assert "AE_" not in said.split("Evaluating _SRS")[0], said
    ranges = [(int(low, 16), int(high, 16)) for low, high in
              re.findall(r"Address Minimum : ([0-9A-F]+)\s+Address Maximum : ([0-9A-F]+)", said)]
    for wanted in [(0, 0), (0xcf8, 0xcf8), WINDOWS["io"], WINDOWS["memory32"]]:
        assert wanted in ranges, said
    assert any(low == 0x400000000 and high & (high + 1) == 0 for low, high in ranges), said


@pytest.mark.boot(BOOT)
def test_config_space_and_ports_are_reserved(tables):
    said = tables.execute("resources \\_SB.BRD0")
    assert re.search(r"Address : FE000000\s+Address Length : 00100000", said), said
    assert {0x600, 0x501} <= {int(port, 16) for port in re.findall(r"Address Minimum : ([0-9A-F]+)", said)}, said


@pytest.mark.boot(BOOT)
def test_com1_has_ports_and_no_interrupt(tables):
    said = tables.execute("resources \\_SB.COM1")
    assert re.search(r"Address Minimum : 03F8\s+Address Maximum : 03F8", said), said
    assert "IRQ" not in said, said


def osc(tables, uuid, revision, capabilities):
    """The three dwords that _OSC answers."""
    mixed = uuid.replace("-", "")
    guid = bytes.fromhex(mixed)
    guid = guid[3::-1] + guid[5:3:-1] + guid[7:5:-1] + guid[8:]
    words = b"".join(struct.pack("<I", word) for word in capabilities)
    said = tables.execute("evaluate \\_SB.PCI0._OSC ({}) {} 3 ({})".format(
        " ".join(f"{byte:02X}" for byte in guid), revision, " ".join(f"{byte:02X}" for byte in words)))
    answer = re.search(r"Evaluation of .*?returned.*?\[Buffer\] Length 0C = +0000: ((?:[0-9A-F]{2} +){12})", said, re.S)
    assert answer, said
    return struct.unpack("<3I", bytes.fromhex(answer[1].replace(" ", "")))


@pytest.mark.boot(BOOT)
@pytest.mark.parametrize("uuid, revision, asked, answered", [
    (OSC_UUID, 1, [0, 0x1f, 0x10], (0, 0x1f, 0x10)),
    (OSC_UUID, 1, [1, 0x1f, 0x3f], (0x11, 0x1f, 0x10)),
    (OSC_UUID, 1, [0, 0, 0], (0, 0, 0)),
    (OSC_UUID, 2, [0, 0x1f, 0x10], (8, 0x1f, 0x10)),
    ("00000000" + OSC_UUID[8:], 1, [0, 0x1f, 0x10], (4, 0x1f, 0x10)),
])
def test_osc_gives_the_capability_structure_and_nothing_else(tables, uuid, revision, asked, answered):
    assert osc(tables, uuid, revision, asked) == answered
