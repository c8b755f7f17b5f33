"""docs/first-device.md tells no tales: its blocks are the device, which is 60 lines, builds beside the others and works."""

import os

import boots
import machine
import pytest
import tutorial

DEVICE = "drivers/virtual/template.c"
GUEST = "tests/guest/t_first.c"
LINES = 60
BOOTS = [f"first@{name}" for name in boots.OFFERED]


def read(path):
    with open(os.path.join(machine.ROOT, path)) as text:
        return text.read()


def test_the_blocks_are_the_device():
    assert tutorial.page().device == read(DEVICE)


def test_60_lines():
    assert 0 < len(tutorial.page().device.splitlines()) <= LINES
    assert all(len(line) <= 100 for line in tutorial.page().device.splitlines())


def test_the_guest_s_blocks_are_in_the_guest():
    found = tutorial.page().of_guest("t_first.c")
    assert found and all(block in read(GUEST) for block in found)


def test_one_file_and_one_line():
    """What the reader adds: a file in which one word is another, and a device line."""
    page = tutorial.page()
    renamed = page.device.replace("MODEL(template,", "MODEL(first,")
    tutorial.image()
    with open(os.path.join(tutorial.TREE, "drivers/virtual/first.c")) as made:
        assert made.read() == renamed != page.device
    assert [line for line in page.config.splitlines() if line.startswith("device")] == ["device = first"]


def test_the_product_has_no_such_device():
    assert not os.path.exists(os.path.join(machine.ROOT, "drivers/virtual/first.c"))


@pytest.mark.parametrize("boot_name", BOOTS)
def test_it_works(boot, boot_name):
    assert not boot.problems, boot.show()
    assert not boot.report.problems, "\n".join(boot.report.problems) + boot.show()
    assert list(boot.report.groups()) == ["first"]
    assert not boot.report.skipped(), boot.show()
    assert boot.report.stopped.startswith("the guest ended it"), boot.report.stopped


@pytest.mark.parametrize("boot_name", BOOTS)
def test_the_log_says_what_the_page_says(boot, boot_name):
    said = tutorial.page().console()
    assert said
    for line in said:
        assert line.rstrip() in [each.rstrip() for each in boot.lines], line + boot.show(60)


@pytest.mark.parametrize("boot_name", BOOTS)
def test_nothing_is_left_behind(boot, boot_name):
    """The device cleans up after itself, as the page says that it should."""
    assert not boot.find("left behind"), boot.show(60)
    assert not boot.find("was torn down with"), boot.show(60)
