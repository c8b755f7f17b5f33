r"""Mistakes on the boot volume: file, line and what was expected; no guest, no panic."""

import pytest

import boots

CONFIG = "\\barvisor.cfg"
# boot: words that one line of the console must hold
MISTAKES = {
    "no-guest": ["\\guest.elf", "not found"],
    "bad-key": [f"{CONFIG}:{len(boots.LAB.splitlines()) + 1}:", "expected"],
    "bad-ram": [CONFIG + ":3:", "expected an amount of RAM"],
    "bad-line": [CONFIG + ":2:", "expected"],
    "no-guest-key": [CONFIG, "expected", "guest"],
    "bad-device": ["teapot"],
    "too-much-ram": ["RAM"],
}


@pytest.mark.parametrize("boot_name", MISTAKES)
def test_mistake(boot, boot_name):
    assert not boot.problems, boot.show()
    words = MISTAKES[boot_name]
    assert any(all(word in line for word in words) for line in boot.lines), \
        f"no line holds {words}" + boot.show()
    assert not boot.report.guest, "a guest ran" + boot.show()
    assert not boot.find("panic"), boot.show(60)
