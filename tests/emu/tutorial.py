"""docs/first-device.md as its reader takes it: the code of its blocks, a copy of the tree with the device in it, its image.

A fenced block whose first line ends with key=name is part of that: "```c file=template.c" of the device, "guest=" of a file of
the guest kernel's. Blocks of one file are joined with an empty line between them.
"""

import os
import re
import shutil
import subprocess
import threading

import machine

PAGE = os.path.join(machine.ROOT, "docs/first-device.md")
TREE = os.path.join(machine.ROOT, "build/tutorial")
FENCE = re.compile(r"^```(\w+)(?: (\w+)=(\S+))?\n(.*?)^```$", re.M | re.S)
building = threading.Lock()


class Page:
    def __init__(self, text):
        self.blocks = [(language, (key, name), content) for language, key, name, content in FENCE.findall(text)]
        self.device = self.file("template.c")
        self.config = self.file("barvisor.cfg")

    def file(self, name):
        return "\n".join(content for _, label, content in self.blocks if label == ("file", name))

    def of_guest(self, name):
        return [content for _, label, content in self.blocks if label == ("guest", name)]

    def console(self):
        return [line for language, _, content in self.blocks if language == "console" for line in content.splitlines()]

    def shell(self):
        return [line for language, _, content in self.blocks if language == "sh" for line in content.splitlines()]


def page():
    with open(PAGE) as text:
        return Page(text.read())


def copy_tree():
    """The sources, each with its time, and the objects that are there, so that little is compiled."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=machine.ROOT, check=True,
                            stdout=subprocess.PIPE).stdout.decode()
    shutil.rmtree(TREE, ignore_errors=True)
    for name in filter(None, listed.split("\0")):
        source, copy = os.path.join(machine.ROOT, name), os.path.join(TREE, name)
        if os.path.exists(source):
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copy2(source, copy)
    objects = os.path.join(machine.ROOT, "build/gcc")
    if os.path.exists(objects):
        shutil.copytree(objects, os.path.join(TREE, "build/gcc"))


def run(*words):
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "CFG")}
    done = subprocess.run(words, cwd=TREE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          errors="replace")
    assert done.returncode == 0, done.stdout
    return done.stdout


def image():
    """The path of an image of the tree with one file more, which the page's own command has made. Built once."""
    efi = os.path.join(TREE, "build/barvisor.efi")
    with building:
        if image.built is None:
            copy_tree()
            run("bash", "-c", next(line for line in page().shell() if line.startswith("sed ")))
            run("make", "--no-print-directory", "PACKAGES=none", "efi")
            image.built = efi
    return image.built


image.built = None
