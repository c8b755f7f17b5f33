"""The picture of the display demonstration, computed from its definition in tests/guest/picture.h, and PNG files.

The tables (glyphs, lines of text, colours) are read from tests/guest/picture.c; what is made of them is written here
once more, after the words of the header. A picture is a Picture: width, height, rows of RGB bytes.
"""

import os
import re
import struct
import subprocess
import zlib

import machine
import memory
import oracle

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PAGE = 4096


class Picture:
    """pixels: RGB, 3 bytes for each pixel, row after row."""

    def __init__(self, width, height, pixels):
        assert len(pixels) == 3 * width * height
        self.width = width
        self.height = height
        self.pixels = bytes(pixels)

    def row(self, y):
        return self.pixels[3 * self.width * y:3 * self.width * (y + 1)]

    def at(self, x, y):
        return self.pixels[3 * (self.width * y + x):][:3]

    def cut(self, width, height):
        """Its top left part."""
        return Picture(width, height, b"".join(self.row(y)[:3 * width] for y in range(height)))

    def differences(self, other):
        """[(x, y)] where they differ; both have the same size."""
        assert (self.width, self.height) == (other.width, other.height)
        return [(x, y) for y in range(self.height) if self.row(y) != other.row(y)
                for x in range(self.width) if self.at(x, y) != other.at(x, y)]


# ------------------------------------------------------------------------------------------- the definition

def guest_source(name):
    with open(os.path.join(machine.ROOT, "tests/guest", name)) as source:
        return source.read()


def number_of(text, name):
    return int(re.search(rf"#define {name}\s+(?:UINT64_C\()?(0x[0-9a-f]+|\d+)", text)[1], 0)


def table(text, name):
    """What stands between the braces of an array."""
    return re.search(rf"\b{name}\[\w*\] = \{{(.*?)\}};", text, re.S)[1]


def mix(a, b, n, of):
    """From colour a to colour b, n parts of `of`; rounded towards a."""
    mixed = 0
    for shift in (0, 8, 16):
        one, other = a >> shift & 255, b >> shift & 255
        step = abs(other - one) * n // of
        mixed |= (one + step if other > one else one - step) << shift
    return mixed


class Definition:
    """tests/guest/picture.h, computed."""

    def __init__(self):
        header, source = guest_source("picture.h"), guest_source("picture.c")
        self.width, self.height = number_of(header, "PICTURE_WIDTH"), number_of(header, "PICTURE_HEIGHT")
        self.band, self.band_rows = number_of(header, "PICTURE_BAND"), number_of(header, "PICTURE_BAND_ROWS")
        self.last = number_of(header, "PICTURE_LAST")
        self.glyphs = {char: [int(row, 16) for row in rows.split(", ")]
                       for char, rows in re.findall(r"\{'(.)', \{(.*?)\}\}", table(source, "glyphs"))}
        self.lines = [(int(x), int(y), int(scale), int(colour, 16), text) for x, y, scale, colour, text in
                      re.findall(r'\{(\d+), (\d+), (\d+), (0x[0-9a-f]+), "(.*?)"\}', table(source, "picture_text"))]
        self.bars = [int(colour, 16) for colour in re.findall(r"0x[0-9a-f]+", table(source, "bar_colour"))]
        self.holes = [int(bits, 16) for bits in re.findall(r"0x[0-9a-f]+", table(source, "picture_holes"))]

    def write(self, canvas, line):
        """The dots of a line of text."""
        left, top, scale, colour, text = line
        for n, char in enumerate(text):
            for row, bits in enumerate(self.glyphs.get(char, [0] * 7)):
                for column in range(5):
                    if bits >> (4 - column) & 1:
                        for y in range(top + row * scale, top + (row + 1) * scale):
                            start = left + 6 * scale * n + column * scale
                            canvas[y][start:start + scale] = [colour] * scale

    def canvas(self, frame):
        """Rows of colours: the last layer first, the others over it."""
        width = self.width
        canvas = [[mix(0x16294D, 0x05080F, y, 600)] * width for y in range(self.height)]
        for i in range(4):
            for y in range(520 + 18 * i, 520 + 18 * i + 14):
                for x in range(16, 784):
                    value = (x - 16) // 3
                    canvas[y][x] = value * (0x010101 if i == 3 else 1 << (16 - 8 * i))
        for i, colour in enumerate(self.bars):
            for y in range(190 + 44 * i, 190 + 44 * i + 28):
                for x in range(120, 504):
                    block, column = divmod(x - 120, 24)
                    if column >= 22:
                        continue
                    hole = self.holes[i] >> block & 1
                    canvas[y][x] = mix(colour, 0xFFFFFF, column, 66) if not hole else \
                        0x8A93A6 if (x + y) % 8 == 0 else 0x1A2233
        for line in self.lines:
            self.write(canvas, line)
        self.draw_band(canvas, frame)
        return canvas

    def draw_band(self, canvas, frame):
        way = 6 * frame % 960
        middle = 40 + (way if way <= 480 else 960 - way), self.band + 36
        for y in range(self.band, self.band + self.band_rows):
            for x in range(self.width):
                distance = (x - middle[0]) ** 2 + (y - middle[1]) ** 2
                canvas[y][x] = mix(0xFFE9B0, 0xD9480F, distance, 900) if distance <= 900 else \
                    mix(0x0B1B33, 0x1D4F91, ((x + 2 * frame) ^ (3 * (y - self.band))) & 63, 63)
        self.write(canvas, (580, self.band + 25, 3, 0xFFFFFF, f"FRAME {frame % 10000:04}"))

    def picture(self, frame=None):
        rows = self.canvas(self.last if frame is None else frame)
        return Picture(self.width, self.height,
                       b"".join(colour.to_bytes(3, "big") for row in rows for colour in row))


# ------------------------------------------------------------------------------------------- what is seen

class Seen:
    """The screen as QEMU shows it, and the frame buffer's own memory: the guest's tables, then the nested ones."""

    def __init__(self, computer):
        with open(computer.path("screen.ppm"), "rb") as file:
            data = file.read()
        header = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", data)
        self.screen = Picture(int(header[1]), int(header[2]), data[header.end():])
        definition = Definition()
        bytes_of = frame_buffer(memory.Memory(computer), number_of(guest_source("pci.h"), "GVA_FRAME"),
                                4 * definition.width * definition.height)
        self.section = Picture(definition.width, definition.height, rgb(bytes_of))


def rgb(pixels):
    """32-bit pixels, blue first, to RGB."""
    out = bytearray(len(pixels) // 4 * 3)
    out[0::3], out[1::3], out[2::3] = pixels[2::4], pixels[1::4], pixels[0::4]
    return out


def guest_cr3():
    """Where the guest's tables start. The CPU may have been stopped in the hypervisor, which draws the screen."""
    symbols = subprocess.run(["nm", os.path.join(machine.ROOT, "build/guest.elf")], check=True, stdout=subprocess.PIPE,
                             text=True).stdout
    return int(re.search(r"^([0-9a-f]+) . guest_pml4$", symbols, re.M)[1], 16)


def frame_buffer(ram, gva, count):
    """`count` bytes that the guest has at gva."""
    tables = guest_cr3()
    root = ram.word(ram.vmcb(tables) + memory.VMCB_NESTED_CR3)

    def host(gpa):
        walk = ram.walk(root, gpa)
        assert memory.present(walk), f"no leaf for guest-physical {gpa:#x}"
        return oracle.frame(*walk[-1], gpa)

    found = b""
    for page in range(gva, gva + count, PAGE):
        walk = ram.walk(tables, page, host)
        assert memory.present(walk), f"the guest has nothing at {page:#x}"
        start = host(oracle.frame(*walk[-1], page))
        found += ram.ram[start:start + PAGE]
    return found[:count]


# ------------------------------------------------------------------------------------------- PNG

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def filtered(row, above, kind):
    """PNG's filters 0 to 2: as it is, against the pixel on the left, against the one above."""
    if kind == 0:
        return row
    other = bytes(3) + row[:-3] if kind == 1 else above
    return bytes((a - b) & 255 for a, b in zip(row, other))


def png(picture):
    """A PNG file's bytes; each row with the filter that leaves the smallest numbers."""
    data, above = b"", bytes(3 * picture.width)
    for y in range(picture.height):
        row = picture.row(y)
        tries = [(kind, filtered(row, above, kind)) for kind in range(3)]
        kind, best = min(tries, key=lambda each: sum(min(byte, 256 - byte) for byte in each[1]))
        data += bytes([kind]) + best
        above = row
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def read_png(data):
    """The Picture in a PNG that png() has made."""
    assert data[:8] == SIGNATURE, "no PNG"
    at, chunks = 8, []
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8:at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + content), "checksum"
        chunks.append((kind, content))
        at += 12 + length
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *form = struct.unpack(">IIBBBBB", chunks[0][1])
    assert form == [8, 2, 0, 0, 0], "not 8 bits of RGB"
    lines = zlib.decompress(chunks[1][1])
    assert len(lines) == height * (3 * width + 1)
    rows, above = [], bytes(3 * width)
    for y in range(height):
        kind, *line = lines[y * (3 * width + 1):(y + 1) * (3 * width + 1)]
        assert kind in (0, 1, 2), "a filter of somebody else"
        for x in range(3 * width) if kind else ():
            line[x] = line[x] + (above[x] if kind == 2 else line[x - 3] if x >= 3 else 0) & 255
        above = bytes(line)
        rows.append(above)
    return Picture(width, height, b"".join(rows))
