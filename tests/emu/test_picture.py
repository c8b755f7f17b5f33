"""The display demonstration: what the guest draws is in the frame buffer and on the machine's screen, pixel by pixel."""

import os

import machine
import picture
import pytest


@pytest.fixture(scope="module")
def expected():
    return picture.Definition().picture()


def judge(seen, expected):
    wrong = seen.differences(expected)
    assert not wrong, f"{len(wrong)} pixels differ, the first at {wrong[0]}: " \
        f"{seen.at(*wrong[0]).hex()}, not {expected.at(*wrong[0]).hex()}"


@pytest.mark.boot("picture")
def test_the_frame_buffer(boot, expected):
    assert boot.seen, "the guest did not come to its last frame" + boot.show()
    judge(boot.seen.section, expected)


@pytest.mark.boot("picture")
def test_the_screen(boot, expected):
    assert boot.seen, "the guest did not come to its last frame" + boot.show()
    judge(boot.seen.screen.cut(expected.width, expected.height), expected)


@pytest.mark.boot("picture")
def test_the_rest_of_the_screen_is_of_one_colour(boot, expected):
    screen = boot.seen.screen
    assert screen.width > expected.width and screen.height > expected.height
    beside = {screen.row(y)[3 * expected.width:] for y in range(expected.height)}
    below = {screen.row(y) for y in range(expected.height, screen.height)}
    colour = screen.at(screen.width - 1, screen.height - 1)
    assert beside == {colour * (screen.width - expected.width)}
    assert below == {colour * screen.width}


def test_the_picture_of_the_readme(expected):
    """make screenshot makes it."""
    path = os.path.join(machine.ROOT, "docs/display.png")
    assert os.path.getsize(path) < 60000
    with open(path, "rb") as file:
        judge(picture.read_png(file.read()), expected)


# ---- what judges is judged ----

# Counted by hand out of picture.h, for each layer.
KNOWN = {
    (0, 0): "16294d", (799, 599): "060910",                                              # ground
    (16, 520): "000000", (783, 520): "ff0000", (783, 538): "00ff00", (783, 574): "ffffff",  # ramps
    (120, 190): "ff6b6b", (141, 190): "ff9a9a", (120, 366): "1a2233", (122, 366): "8a93a6",  # blocks, holes
    (184, 24): "ffffff", (60, 194): "ff6b6b",                                             # text
}


@pytest.mark.parametrize("place", KNOWN)
def test_places_that_are_known(expected, place):
    assert expected.at(*place).hex() == KNOWN[place]


def test_the_frame_changes_its_band_only(expected):
    definition = picture.Definition()
    rows = {y for _, y in definition.picture(1).differences(expected)}
    assert rows and min(rows) >= definition.band and max(rows) < definition.band + definition.band_rows


def test_one_pixel_is_seen(expected):
    pixels = bytearray(expected.pixels)
    pixels[3 * (800 * 300 + 123) + 1] ^= 1
    other = picture.Picture(expected.width, expected.height, pixels)
    assert other.differences(expected) == [(123, 300)]
    with pytest.raises(AssertionError, match=r"1 pixels differ, the first at \(123, 300\)"):
        judge(other, expected)


def test_png_and_back(expected):
    assert picture.read_png(picture.png(expected)).pixels == expected.pixels
    broken = bytearray(picture.png(expected))
    broken[100] ^= 1
    with pytest.raises(AssertionError, match="checksum"):
        picture.read_png(bytes(broken))


def test_order_of_colours():
    assert picture.rgb(bytes([1, 2, 3, 4, 5, 6, 7, 8])) == bytes([3, 2, 1, 7, 6, 5])
