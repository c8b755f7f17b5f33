"""The hypervisor's text console, read back from a picture of the machine's screen.

The shapes come from the drawings in drivers/host/screen_font.c; where they must be on the screen is said here
once more.
"""

import os
import re

import machine

CELL_WIDTH, CELL_HEIGHT, DRAWN_ROWS, PER_BAND = 6, 10, 9, 12
LARGE_COLUMNS = 80


def font():
    """{shape: character}; a shape is a tuple of CELL_HEIGHT strings of '#' and '.'."""
    with open(os.path.join(machine.ROOT, "drivers/host/screen_font.c")) as source:
        rows = re.findall(r'^\s*ROW\("([.#]+)"\),$', source.read(), re.M)
    shapes = {}
    for code in range(ord(" "), ord("~") + 1):
        band, place = divmod(code - ord(" "), PER_BAND)
        drawn = [rows[band * DRAWN_ROWS + row][place * CELL_WIDTH:][:CELL_WIDTH - 1] for row in range(DRAWN_ROWS)]
        shapes[("." * CELL_WIDTH, *("." + row for row in drawn))] = chr(code)
    return shapes


class Picture:
    """A binary PPM (P6, 8 bits for each colour)."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        header = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", data)
        self.width, self.height = int(header[1]), int(header[2])
        self.pixels = data[header.end():]

    def at(self, x, y):
        start = 3 * (y * self.width + x)
        return self.pixels[start:start + 3]

    def colours(self):
        return {self.pixels[start:start + 3] for start in range(0, len(self.pixels), 3)}

    def scale(self):
        return 2 if self.width >= LARGE_COLUMNS * CELL_WIDTH * 2 else 1

    def columns(self):
        return self.width // (CELL_WIDTH * self.scale())

    def lines(self):
        """The text, a string for each line of the screen; a cell that shows no character is '\\0'."""
        shapes, paper = font(), self.at(self.width - 1, self.height - 1)
        scale = self.scale()
        lines = []
        for row in range(self.height // (CELL_HEIGHT * scale)):
            line = ""
            for column in range(self.columns()):
                cell = tuple("".join("." if self.at((column * CELL_WIDTH + x) * scale,
                                                    (row * CELL_HEIGHT + y) * scale) == paper else "#"
                                     for x in range(CELL_WIDTH)) for y in range(CELL_HEIGHT))
                line += shapes.get(cell, "\0")
            lines.append(line.rstrip())
        return lines
