"""docs/api.md against the headers: each call is there, and no call that does not exist; each status too."""

import os
import re

import machine
import pytest

HEADERS = ["hv/pci/device.h", "hv/mem/section.h", "hv/mem/event.h"]


def read(path):
    with open(os.path.join(machine.ROOT, path)) as text:
        return text.read()


def code(path):
    return re.sub(r"/\*.*?\*/", "", read(path), flags=re.S)


def declared():
    """{name: number of parameters} of the functions that the headers declare."""
    found = {}
    for header in HEADERS:
        for name, parameters in re.findall(r"^[a-z][\w \*]*?\b\*?(hv_\w+)\(([^()]*(?:\([^()]*\)[^()]*)*)\)", code(header),
                                           re.M):
            flat = re.sub(r"\([^()]*\)", "", parameters)
            found[name] = len(flat.split(","))
    return found


DECLARED = declared()
PAGE = read("docs/api.md")


def test_the_headers_were_understood():
    assert len(DECLARED) >= 40 and DECLARED["hv_mmio_range_create"] == 7 and DECLARED["hv_event_create"] == 4


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_each_call_has_its_row(name):
    rows = re.findall(rf"^\| `{name}\(([^)]*)\)` \|", PAGE, re.M)
    assert len(rows) == 1, f"{len(rows)} rows for {name}"
    if "..." not in rows[0]:
        assert len(rows[0].split(",")) == DECLARED[name], rows[0]


def test_no_call_that_does_not_exist():
    assert set(re.findall(r"\bhv_\w+", PAGE)) <= set(DECLARED) | {"hv_device_ops"}


def test_callbacks_are_those_of_the_structure():
    ops = re.search(r"struct hv_device_ops \{(.*?)\n\};", code("hv/pci/device.h"), re.S)[1]
    members = re.findall(r"\(\*(\w+)\)", ops)
    table = PAGE[PAGE.index("| callback |"):PAGE.index("`HV_DEVICE_MODEL(")]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")]
    assert sorted(named) == sorted(members)


def test_statuses_exist():
    known = {name[len("HV_E_"):] for name in re.findall(r"\bHV_E_\w+", read("hv/base/status.h"))}
    used = set(re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b", PAGE))
    others = {"HV_OK", "HV_DEVICE_MODEL", "HV_DEVICE_SIMPLE_MODEL", "HV_E_INVALID_PARAMETER"}
    assert used - known - others == set()


def test_macros_exist():
    for macro in ("HV_DEVICE_MODEL", "HV_DEVICE_SIMPLE_MODEL"):
        assert re.search(rf"^#define {macro}\(", read("hv/pci/device.h"), re.M)
        assert f"`{macro}(" in PAGE
