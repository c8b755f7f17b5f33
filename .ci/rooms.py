#!/usr/bin/env python3
"""Who may include whom, and is every source built: the table of rooms as data.

    rooms.py [SOURCES...]   SOURCES: what the Makefile builds into the image

A room is the longest entry of ROOMS that a file's path starts with. A file may include its own room, what its
entry lists, and the freestanding C headers. Other includes are errors, as are include paths that are not from
the root, unlisted sources and .c files that do not begin with their own header.
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

FREESTANDING = {"stdalign.h", "stdarg.h", "stdbool.h", "stddef.h", "stdint.h", "limits.h", "float.h", "stdnoreturn.h"}

# room: what it may include besides itself. "x/" is a whole room, "x/y.h" one header, "*" everything.
ROOMS = {
    "hv/base/": [],
    "hv/x86/": ["hv/base/"],
    "ept/": ["hv/base/"],
    "hv/mem/": ["hv/base/", "hv/x86/", "ept/"],
    "hv/mmio/": ["hv/base/", "hv/x86/regs.h"],
    "hv/vm/": ["hv/base/", "hv/x86/", "ept/", "hv/mem/", "hv/mmio/"],
    "hv/pci/": ["hv/base/", "ept/", "hv/mem/", "hv/mmio/", "hv/vm/"],
    "hv/console/": ["hv/base/", "hv/x86/", "ept/", "hv/mem/", "hv/mmio/", "hv/vm/", "hv/pci/"],
    "hv/vmx/": ["hv/base/", "hv/x86/", "ept/", "hv/vm/", "hv/mem/frames.h"],
    "hv/svm/": ["hv/base/", "hv/x86/", "ept/", "hv/vm/", "hv/mem/frames.h"],
    "drivers/host/": ["hv/base/", "hv/x86/", "hv/mem/"],
    "drivers/virtual/": ["hv/base/", "hv/pci/device.h"],
    "boot/": ["*"],
    "tests/": ["*"],
}
# Devices see only the device-host API, and each only its own headers. The lab device looks deeper.
EXTRA = {
    "drivers/virtual/lab": ["hv/pci/inspect.h"],
}
EFI_ROOM = "boot/"
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)
ASM_INCLUDE = re.compile(r'^\s*%include\s+"([^"]+)"', re.M)


def room_of(path):
    rooms = [room for room in ROOMS if path.startswith(room)]
    return max(rooms, key=len) if rooms else None


def allowed(path, room, header):
    if room == "drivers/virtual/":
        # A device in several files: lab.c, lab_commands.c, lab.h, lab_regs.h.
        device = re.match(r"drivers/virtual/[^_.]*", path)[0]
        if header.startswith(device + ".") or header.startswith(device + "_"):
            return True
    elif header.startswith(room):
        return True
    rules = list(ROOMS[room])
    for prefix, more in EXTRA.items():
        if path.startswith(prefix):
            rules += more
    return any(rule == "*" or header == rule or (rule.endswith("/") and header.startswith(rule)) for rule in rules)


def check_include(path, room, quoted, system):
    if system:
        if system in FREESTANDING or room == "tests/":
            return None
        if system.startswith("efi") and room == EFI_ROOM:
            return None
        return f"<{system}> is no freestanding C header"
    if not os.path.exists(os.path.join(ROOT, quoted)):
        return f'"{quoted}" is not a path from the root'
    if not allowed(path, room, quoted):
        return f'"{quoted}": {room} may not include it'
    return None


def check(path):
    room = room_of(path)
    if room is None:
        return [f"{path}: lies in no room"]
    with open(os.path.join(ROOT, path), errors="replace") as source:
        text = source.read()
    problems = []
    found = INCLUDE.findall(text)
    if path.endswith(".asm"):
        found = [(name, "") for name in ASM_INCLUDE.findall(text) if name != "offsets.inc"]
    for quoted, system in found:
        problem = check_include(path, room, quoted, system)
        if problem:
            problems.append(f"{path}: {problem}")
    own = os.path.splitext(path)[0] + ".h"
    if path.endswith(".c") and os.path.exists(os.path.join(ROOT, own)) and (not found or found[0][0] != own):
        problems.append(f'{path}: does not include "{own}" first')
    return problems


def tree():
    for top in ("boot", "hv", "ept", "drivers", "tests"):
        for directory, _, names in os.walk(os.path.join(ROOT, top)):
            for name in sorted(names):
                if name.endswith((".c", ".h", ".asm")):
                    yield os.path.relpath(os.path.join(directory, name), ROOT)


def main():
    built = set(sys.argv[1:])
    problems = []
    count = 0
    for path in tree():
        count += 1
        problems += check(path)
        is_source = path.endswith((".c", ".asm")) and not path.startswith("tests/")
        if built and is_source and path not in built and path != "hv/vm/offsets.c":
            problems.append(f"{path}: not in the Makefile's source lists")
    for problem in problems:
        print("rooms: " + problem)
    if count == 0:
        print("rooms: no sources found")
    return 1 if problems or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
