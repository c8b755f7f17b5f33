"""Every initial range of the lab device's BAR2, judged by what the CPU walked.

The guest (cmdline test=oracle) prints a line for each access and brackets it with magic breaks:

    # oracle <n> gva=0x... gpa=0x... bar2=0x... pat=0x...

Expected ranges stand here, again, in Python: see drivers/virtual/lab_regs.h for the same in words.
"""

import re

import oracle
import pytest

PAGE = 4096
TYPES = [oracle.UC, oracle.WC, oracle.WT, oracle.WP, oracle.WB]  # by type number t
RIGHTS = [1, 3, 5, 7]                                            # R, RW, RX, RWX by rights number r
LAST_PAGE = 16383


def expected_ranges():
    """[(first page, pages, type, rights, ipat)] of BAR2."""
    ranges = []
    for t, kind in enumerate(TYPES):
        for r, rights in enumerate(RIGHTS):
            for ipat in (0, 1):
                ranges.append((4 * ((t * 4 + r) * 2 + ipat), 2, kind, rights, bool(ipat)))
        for ipat in (0, 1):
            ranges.append((512 * (t * 2 + ipat + 1), 512, kind, 3, bool(ipat)))
    ranges.append((512 * 12, 1025, oracle.WB, 3, False))
    ranges.append((512 * 16 - 1, 3, oracle.WB, 3, False))
    ranges.append((LAST_PAGE, 1, oracle.WB, 3, False))
    return ranges


def expected(page):
    """(range, leaf level) for a page of BAR2; None for a hole."""
    for each in expected_ranges():
        first, pages = each[:2]
        if first <= page < first + pages:
            block = page - page % 512
            whole = first <= block and block + 512 <= first + pages
            return each, 2 if whole else 1
    return None


LINE = re.compile(r"^# oracle (\d+) (.*)$")


def announced(boot):
    """What the guest says it accesses: [{name: value}]."""
    found = []
    for line in boot.report.guest:
        match = LINE.match(line)
        if match:
            words = dict(word.split("=", 1) for word in match[2].split() if "=" in word)
            found.append({name: int(number, 0) for name, number in words.items()})
    return found


def pairs(boot):
    """[(announcement, access)] in order; every announcement has its access."""
    lines = announced(boot)
    assert lines, "the guest announced no access" + boot.show()
    walked = {}
    for access in oracle.accesses(boot.output):
        walked.setdefault(access.gva, access)
    missing = [line for line in lines if line["gva"] not in walked]
    assert not missing, f"no walk seen for {[hex(line['gva']) for line in missing[:5]]}"
    return [(line, walked[line["gva"]]) for line in lines]


def page_of(line):
    return (line["gpa"] - line["bar2"]) // PAGE


@pytest.mark.boot("oracle")
def test_every_range_was_touched(boot):
    assert not boot.problems, boot.show()
    touched = {page_of(line) for line, _ in pairs(boot)}
    for first, pages, *_ in expected_ranges():
        assert touched & set(range(first, first + pages)), f"BAR2 page {first}"


@pytest.mark.boot("oracle")
def test_leaves(boot):
    """Type, rights, IPAT, leaf size and frame, entry by entry."""
    wrong = []
    for line, access in pairs(boot):
        page = page_of(line)
        (_, _, kind, rights, ipat), level = expected(page)
        seen = (access.gpa, access.type, access.rights, access.ipat, access.level)
        want = (line["gpa"], kind, rights, ipat, level)
        if seen != want or access.problems():
            wrong.append(f"BAR2 page {page}: (gpa, type, rights, ipat, level) is {seen}, expected {want} "
                         f"{access.problems()}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.boot("oracle")
def test_effective_types(boot):
    """The leaf's type where the guest PAT is ignored, else combined with the guest's choice."""
    wrong = []
    for line, access in pairs(boot):
        page = page_of(line)
        (_, _, kind, _, ipat), _ = expected(page)
        chosen = line["pat"] >> 8 * access.pat_index & 7
        want = kind if ipat else oracle.COMBINED[kind][chosen]
        seen = access.effective(line["pat"])
        if seen != want:
            wrong.append(f"BAR2 page {page}: {oracle.NAMES[seen]}, expected {oracle.NAMES[want]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.boot("oracle")
def test_frames(boot):
    """Pages of one range are neighbours in the section, and no two pages share a frame."""
    frames = {}
    for line, access in pairs(boot):
        frames[page_of(line)] = access.hpa // PAGE
    assert len(set(frames.values())) == len(frames)
    for first, pages, *_ in expected_ranges():
        inside = {page: frame - page for page, frame in frames.items() if first <= page < first + pages}
        assert len(set(inside.values())) <= 1, inside


# ------------------------------------------------------------------------------- the oracle's own arithmetic

TRACE = """\
(0) Magic breakpoint
[CPU0 RD]: PHY 0x000001000000 (len=8, WB): 0x00000000 0x01001007	; EPT PML4E
[CPU0 RD]: PHY 0x000001001000 (len=8, WB): 0x00000000 0x01002007	; EPT PDPTE
[CPU0 RD]: PHY 0x000001002000 (len=8, WB): 0x00000000 0x020000B7	; EPT PDE
[CPU0 RD]: PHY 0x000002001000 (len=8, WB): 0x00000000 0x00002027	; PML4E
[CPU0 RD]: PHY 0x000002002008 (len=8, WB): 0x00000000 0x00003027	; PDPTE
[CPU0 RD]: PHY 0x000002003000 (len=8, WB): 0x00000000 0x00004027	; PDE
[CPU0 RD]: PHY 0x000002004008 (len=8, WB): 0x00000000 0x8000108B	; PTE
[CPU0 WR]: PHY 0x000002004008 (len=8, WB): 0x00000000 0x800010AB	; PTE
[CPU0 RD]: PHY 0x000001000000 (len=8, WB): 0x00000000 0x01001007	; EPT PML4E
[CPU0 RD]: PHY 0x000001001010 (len=8, WB): 0x00000000 0x01003007	; EPT PDPTE
[CPU0 RD]: PHY 0x000001003000 (len=8, WB): 0x00000000 0x01004007	; EPT PDE
[CPU0 RD]: PHY 0x000001004008 (len=8, WB): 0x00000000 0x03005063	; EPT PTE
[CPU0 RD]: LIN 0x0000000040001008 PHY 0x000003005008 (len=4, WB): 0x00000000
"""


def test_arithmetic():
    (access,) = oracle.accesses(TRACE)
    assert (access.gva, access.gpa, access.hpa) == (0x40001008, 0x80001008, 0x3005008)
    assert (access.type, access.rights, access.ipat, access.level) == (oracle.WT, 3, True, 1)
    assert access.pat_index == 5 and access.problems() == []
    assert access.effective(0x0106050400070106) == oracle.WT
    (access,) = oracle.accesses(TRACE.replace("0x03005063", "0x03005033"))
    assert access.effective(0x0106050400070106) == oracle.WP  # WB leaf, PA5 is WP
    (access,) = oracle.accesses(TRACE.replace("PHY 0x000003005008", "PHY 0x000003006008"))
    assert access.problems()


def test_expected_pages():
    assert expected(0)[0][2:] == (oracle.UC, 1, False) and expected(0)[1] == 1
    assert expected(2) is None and expected(4)[0][4]
    assert expected(4 * 39 + 1)[0][2:] == (oracle.WB, 7, True)
    assert expected(512)[1] == 2 and expected(512 * 10 + 511)[0][2:] == (oracle.WB, 3, True)
    assert expected(512 * 14) is not None and expected(512 * 14)[1] == 1 and expected(512 * 14 + 1) is None
    assert expected(512 * 16 - 2) is None and expected(512 * 16 + 2) is None
