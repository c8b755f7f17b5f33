#!/usr/bin/env python3
"""make screenshot: the display demonstration on qemu-npt, as PNG files.

build/screenshot.png          the machine's screen, as QEMU shows it
build/screenshot-section.png  the frame buffer's memory
docs/display.png              the picture out of the first, for the README; left alone when it shows the same

Exit 0 only when both show, pixel by pixel, what tests/guest/picture.h defines.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import boots  # noqa: E402
import machine  # noqa: E402
import picture  # noqa: E402


def save(name, shown):
    with open(os.path.join(machine.ROOT, name), "wb") as out:
        out.write(picture.png(shown))
    print(f"screenshot: {name}, {shown.width}x{shown.height}")


def is_current(name, shown):
    path = os.path.join(machine.ROOT, name)
    if not os.path.exists(path):
        return False
    with open(path, "rb") as file:
        return picture.read_png(file.read()).pixels == shown.pixels


def main():
    why = machine.target("qemu-npt").lacks()
    if why:
        sys.exit(f"screenshot: {why}")
    runner = boots.Runner()
    result = runner.result("picture")
    runner.close()
    if not result.seen:
        sys.exit("screenshot: the guest did not come to its last frame" + result.show())
    expected = picture.Definition().picture()
    shown = result.seen.screen.cut(expected.width, expected.height)
    save("build/screenshot.png", result.seen.screen)
    save("build/screenshot-section.png", result.seen.section)
    wrong = 0
    for what, seen in (("the screen", shown), ("the frame buffer", result.seen.section)):
        places = seen.differences(expected)
        wrong += len(places)
        first = f", the first at {places[0]}" if places else ""
        print(f"screenshot: {what}: {len(places)} pixels are not as defined{first}")
    if not wrong and not is_current("docs/display.png", shown):
        save("docs/display.png", shown)
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
