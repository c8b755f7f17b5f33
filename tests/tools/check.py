#!/usr/bin/env python3
"""make test and make lint: run the parts, count every check, close with one line "N passed, N failed"."""

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/tools"))
import units  # noqa: E402

ROOMS = ["boot", "hv", "ept", "drivers"]
JOBS = os.cpu_count() or 1
# How long each fuzzer runs: at least so many inputs, of at most so many bytes, and at least so many seconds.
FUZZ = {"api": (20000, 161, 0), "insn": (1000000, 16, 60)}
# Rooms that know neither vendor, and the names that must not appear there. The formats of the tables are data.
NEUTRAL = ["hv/vm/**/*", "hv/mmio/**/*", "hv/pci/**/*", "hv/mem/**/*", "ept/ept.[ch]", "ept/pool.[ch]", "ept/report.[ch]"]
VENDOR = re.compile(r"(?<![a-z])(vmx|vmcs|svm|vmcb|intel|amd)", re.I)


class Score:
    """Counts checks over all parts."""

    def __init__(self):
        self.passed = 0
        self.failures = []
        self.later = []  # what runs beside other parts: futures of lists of (name, problem)
        self.began = time.monotonic()

    def add(self, name, problem=None):
        if problem:
            self.failures.append(name)
            print(f"  FAILED  {name}\n{problem.rstrip()}", flush=True)
        else:
            self.passed += 1
            print(f"  ok      {name}", flush=True)

    def add_all(self, checks):
        for name, problem in checks:
            self.add(name, problem)

    def close(self):
        for checks in self.later:
            self.add_all(checks.result())
        for name in self.failures:
            print("FAILED: " + name)
        print(f"{self.passed} passed, {len(self.failures)} failed")
        return 1 if self.failures or not self.passed else 0


def listed(variable):
    return os.environ.get(variable, "").split()


def files(*patterns):
    """Files of the tree by shell pattern, build/ left out."""
    found = set()
    for pattern in patterns:
        found.update(glob.glob(pattern, root_dir=ROOT, recursive=True))
    return sorted(name for name in found if not name.startswith("build/"))


def command(words, **more):
    """None when it succeeded, else what it printed."""
    try:
        done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
                              **more)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stdout or f"exit code {done.returncode}"


def each(function, names):
    """Run function(name) for all names, some at a time; None or what the failing ones said."""
    with ThreadPoolExecutor(JOBS) as pool:
        said = [problem for problem in pool.map(function, names) if problem]
    return "\n".join(said) or None


# ---------------------------------------------------------------------------------------------------- lint

def c_files():
    return files(*(f"{room}/**/*.[ch]" for room in ROOMS), "tests/**/*.[ch]")


def lint_format():
    return command(["clang-format", "--dry-run", "-Werror", "--ferror-limit=3", *c_files()])


def lint_rooms():
    return command([sys.executable, ".ci/rooms.py", *listed("IMAGE_SRCS")])


def lint_vendors():
    """What the CPU's vendors call things stays in the backends, comments included."""
    found = []
    for name in files(*NEUTRAL):
        with open(os.path.join(ROOT, name), errors="replace") as source:
            for number, line in enumerate(source, 1):
                if VENDOR.search(line):
                    found.append(f"{name}:{number}: {line.strip()}")
    return "\n".join(found) or None


def image_flags(name):
    flags = shlex.split(os.environ["IMAGE_CFLAGS"])
    return flags + (shlex.split(os.environ["EFI_CFLAGS"]) if name.startswith("boot/") else [])


def lint_headers():
    """Every header of the rooms compiles alone, with nothing before it."""
    def one(name):
        flags = [flag for flag in image_flags(name) if flag not in ("-g", "-Os")]
        return command(["gcc", *flags, "-fsyntax-only", "-Wno-unused", "-x", "c", "-include", name, "/dev/null"])
    return each(one, files(*(f"{room}/**/*.h" for room in ROOMS)))


def clang_flags(name):
    """For tools that parse as clang does; host tests have flags of their own."""
    if name.startswith("tests/"):
        return [flag for flag in shlex.split(os.environ["HOST_CFLAGS"]) if not flag.startswith("-fsanitize")]
    return image_flags(name)


def lint_tidy():
    def one(name):
        return command(["clang-tidy", "--quiet", "--warnings-as-errors=*", name, "--", *clang_flags(name)])
    return each(one, [name for name in listed("IMAGE_SRCS") if name.endswith(".c")])


def lint_cppcheck():
    names = [name for name in listed("IMAGE_SRCS") if name.endswith(".c")]
    # It cannot see that two conditions belong together, and then calls one of them redundant.
    blind = ["--suppress=missingIncludeSystem", "--suppress=nullPointerRedundantCheck"]
    return command(["cppcheck", "--quiet", "--std=c11", "--platform=unix64", "--enable=warning,portability",
                    "--inline-suppr", "--error-exitcode=1", *blind, "-I.", f"-j{JOBS}", *names])


def lint_shell():
    return command(["shellcheck", *files("tests/**/*.sh"), ".ci/run"])


LINT = [("format", lint_format), ("rooms", lint_rooms), ("vendor names", lint_vendors), ("headers alone", lint_headers),
        ("shellcheck", lint_shell), ("cppcheck", lint_cppcheck), ("clang-tidy", lint_tidy)]


def lint(score):
    print("lint", flush=True)
    for name, step in LINT:
        score.add("lint: " + name, step())


# --------------------------------------------------------------------------------------------------- parts

def make(*goals):
    return command(["make", "--no-print-directory", f"-j{JOBS}", "PACKAGES=none", *goals])


def build(score):
    print("build", flush=True)
    score.add("build: gcc image, guest and disk", make("CC=gcc", "disk"))
    score.add("build: clang image", make("CC=clang", "efi"))


def unit_tests(score):
    print("units", flush=True)
    score.add("build: host tests", make("unit-programs"))
    programs = [f"build/host/{name[:-2]}" for name in listed("UNIT_SRCS") if name.startswith("tests/unit/test_")]
    passed, failures = units.run_all([os.path.join(ROOT, program) for program in programs])
    score.passed += passed
    score.failures += ["units: " + failure for failure in failures]


def fuzz_one(name):
    """A fuzzer's checks as (name, problem): the corpus that is committed, then the same runs every time."""
    runs, most, seconds = FUZZ[name]
    made = os.path.join(ROOT, "build/fuzz/made", name)
    shutil.rmtree(made, ignore_errors=True)
    os.makedirs(made)
    program, corpus = ["nice", f"build/fuzz/fuzz_{name}"], f"tests/fuzz/corpus/{name}"
    words = ["-len_control=0", "-artifact_prefix=build/fuzz/"]
    found = [(f"fuzz: {name}, corpus", command([*program, "-runs=0", "-seed=1", *words, corpus]))]
    words += [f"-max_len={most}", made, corpus]
    began = time.monotonic()
    found.append((f"fuzz: {name}, {runs} runs", command([*program, f"-runs={runs}", "-seed=1", *words])))
    left = seconds - (time.monotonic() - began)
    if left > 0:
        found.append((f"fuzz: {name}, {seconds} s",
                      command([*program, f"-max_total_time={int(left) + 1}", "-seed=2", *words])))
    return found


def fuzz(score):
    """Those that take their time do so beside the boots."""
    print("fuzz", flush=True)
    problem = make("fuzz-programs")
    score.add("build: fuzzers", problem)
    pool = ThreadPoolExecutor(1)
    for name in listed("FUZZERS") if not problem else []:
        if FUZZ[name][2] > 0:
            score.later.append(pool.submit(fuzz_one, name))
        else:
            score.add_all(fuzz_one(name))


def boots(score):
    """pytest, counted from its own record; a pytest that dies early is one failure more."""
    print("boots", flush=True)
    record = os.path.join(ROOT, "build/pytest.xml")
    if os.path.exists(record):
        os.remove(record)
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-rf", "--tb=short", "-p", "no:cacheprovider",
                           "--junitxml", record, "tests/emu"], cwd=ROOT)
    counted = 0
    if os.path.exists(record):
        for case in xml.etree.ElementTree.parse(record).getroot().iter("testcase"):
            counted += 1
            bad = case.find("failure") is not None or case.find("error") is not None
            if bad or case.find("skipped") is not None:
                score.failures.append(f"boots: {case.get('classname')}.{case.get('name')}" +
                                      ("" if bad else " (skipped)"))
            else:
                score.passed += 1
    if counted == 0 or done.returncode not in (0, 1):
        score.failures.append(f"boots: pytest ended with {done.returncode} after {counted} checks")


PARTS = {"lint": lint, "build": build, "units": unit_tests, "fuzz": fuzz, "boots": boots}


def main():
    wanted = sys.argv[1:] or ["all"]
    score = Score()
    for name, part in PARTS.items():
        if name in wanted or "all" in wanted:
            began = time.monotonic()
            part(score)
            print(f"time: {name} {time.monotonic() - began:.1f} s", flush=True)
    unknown = [name for name in wanted if name not in PARTS and name != "all"]
    for name in unknown:
        score.failures.append("no such part: " + name)
    return score.close()


if __name__ == "__main__":
    sys.exit(main())
