"""The log on the machine's own screen, as QEMU shows it."""

import pytest


@pytest.mark.boot("screen")
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


@pytest.mark.boot("screen")
def test_two_colours(boot):
    """Ink and paper, in the right order of their bytes: the paper is blue."""
    colours = boot.seen.colours()
    assert len(colours) == 2
    red, _, blue = boot.seen.at(boot.seen.width - 1, boot.seen.height - 1)
    assert blue > red


@pytest.mark.boot("screen")
def test_the_screen_is_announced(boot):
    assert boot.find("screen: 1280x800 at 0x"), boot.show(60)
