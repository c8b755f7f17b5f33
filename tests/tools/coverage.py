#!/usr/bin/env python3
"""make coverage: branches that the host tests take, one line per file of the mapping engine and of trapped
accesses, and a total.

Fails below 95 % of all, or below 90 % of a file with 20 branches or more. A branch that only a failed ASSERT takes does
not count.
"""

import fnmatch
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DIR = "build/coverage"
OF_ALL, OF_ONE = 95.0, 90.0
ENOUGH = 20

# Tables, sections, views, I/O space, the ledger of types, ranges; the decoder, the emulator, trapped accesses, the walk of a
# guest's tables, doorbells. frames.c and slab.c below them are told of, not judged.
JUDGED = ["ept/*", "hv/mem/*", "hv/pci/range*", "hv/pci/records.*", "hv/pci/leaves.*", "hv/pci/edges.*", "hv/pci/doorbell.*",
          "hv/pci/change.*", "hv/pci/resize.*", "hv/pci/doorbell.*", "hv/mmio/*", "hv/vm/access.*", "hv/vm/mmio.*",
          "hv/vm/trail.*", "hv/vm/usual.*", "hv/vm/walk.*"]
TOLD = ["hv/mem/frames.*", "hv/mem/slab.*", "hv/pci/*"]


def matches(name, patterns):
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def measure():
    """{file: (taken, branches, [lines with a branch never taken])}"""
    report = os.path.join(DIR, "coverage.json")
    subprocess.run(["gcovr", "--root", ".", "--exclude", "tests", "--exclude-branches-by-pattern", r".*\bASSERT\(.*",
                    "--json", report, "--html-details", os.path.join(DIR, "index.html"), DIR],
                   cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    found = {}
    with open(os.path.join(ROOT, report)) as text:
        for entry in json.load(text)["files"]:
            branches = [(line["line_number"], branch["count"]) for line in entry["lines"] for branch in line["branches"]]
            missed = sorted({number for number, count in branches if count == 0})
            found[entry["file"]] = (sum(count > 0 for _, count in branches), len(branches), missed)
    return found


def percent(taken, branches):
    return 100.0 * taken / branches if branches else 100.0


def line(name, taken, branches, missed=()):
    text = f"{name:28} {taken:5} of {branches:5}  {percent(taken, branches):5.1f} %"
    if missed:
        text += "  not: " + " ".join(str(number) for number in missed[:12]) + (" ..." if len(missed) > 12 else "")
    print(text)


def main():
    found = measure()
    all_taken = all_branches = 0
    low = []
    for name, (taken, branches, missed) in sorted(found.items()):
        if branches == 0 or not matches(name, JUDGED + TOLD):
            continue
        if matches(name, JUDGED) and not matches(name, TOLD[:2]):
            line(name, taken, branches, missed)
            all_taken += taken
            all_branches += branches
            if percent(taken, branches) < OF_ONE and branches >= ENOUGH:
                low.append(name)
    line("total", all_taken, all_branches)
    if all_branches == 0 or percent(all_taken, all_branches) < OF_ALL:
        low.append("total")
    print("the rest of these rooms:")
    for name, (taken, branches, missed) in sorted(found.items()):
        if branches and matches(name, TOLD) and not (matches(name, JUDGED) and not matches(name, TOLD[:2])):
            line(name, taken, branches)
    for name in low:
        print(f"coverage: {name} is below {OF_ALL if name == 'total' else OF_ONE} %")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
