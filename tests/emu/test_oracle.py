"""Every initial range of the lab device's BAR2, judged by what the CPU walked.

The guest (cmdline test=oracle) prints a line for each access and brackets it with magic breaks. Bochs shows the walk of
each; QEMU shows all memory at the end.

    # oracle <n> gva=0x... gpa=0x... bar2=0x... pat=0x...

Expected ranges stand here, again, in Python: see drivers/virtual/lab_regs.h for the same in words.
"""

import boots
import machine
import memory
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


BOOTS = ["oracle@bochs-ept", "oracle@bochs-npt", "oracle@qemu-npt"]


def expected_here(boot):
    """The ranges that exist on this target: NPT has no way to ignore the guest's PAT, so those are left out."""
    return [each for each in expected_ranges() if boot.target.tables == machine.EPT or not each[4]]


def walked(boot):
    """The accesses that were seen, by address."""
    assert boot.seen is not None, boot.show()
    seen = boot.seen.accesses if isinstance(boot.seen, memory.Guest) else boot.seen
    found = {}
    for access in seen:
        found.setdefault(access.gva, access)
    return found


def pairs(boot):
    """[(announcement, access)] in order; every announcement has its access."""
    lines = boots.announced(boot.report)
    assert lines, "the guest announced no access" + boot.show()
    seen = walked(boot)
    missing = [line for line in lines if line["gva"] not in seen]
    assert not missing, f"no walk seen for {[hex(line['gva']) for line in missing[:5]]}"
    return [(line, seen[line["gva"]]) for line in lines]


def page_of(line):
    return (line["gpa"] - line["bar2"]) // PAGE


@pytest.mark.parametrize("boot_name", BOOTS)
def test_every_range_was_touched(boot, boot_name):
    assert not boot.problems, boot.show()
    touched = {page_of(line) for line, _ in pairs(boot)}
    for first, pages, *_ in expected_here(boot):
        assert touched & set(range(first, first + pages)), f"BAR2 page {first}"


@pytest.mark.parametrize("boot_name", BOOTS)
def test_leaves(boot, boot_name):
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


@pytest.mark.parametrize("boot_name", BOOTS)
def test_effective_types(boot, boot_name):
    """The leaf's type where the guest PAT is ignored, else combined with the guest's choice."""
    combined = {machine.EPT: oracle.COMBINED_EPT, machine.NPT: oracle.COMBINED_NPT}[boot.target.tables]
    wrong = []
    for line, access in pairs(boot):
        page = page_of(line)
        (_, _, kind, _, ipat), _ = expected(page)
        chosen = line["pat"] >> 8 * access.pat_index & 7
        want = kind if ipat else combined[kind][chosen]
        seen = access.effective(line["pat"])
        if seen != want:
            wrong.append(f"BAR2 page {page}: {oracle.NAMES[seen]}, expected {oracle.NAMES[want]}")
    assert not wrong, "\n".join(wrong)


def check_frames(boot, frames):
    """frames: {page: frame}. Pages of one range are neighbours in the section, and no two pages share a frame."""
    assert len(set(frames.values())) == len(frames)
    for first, pages, *_ in expected_here(boot):
        inside = {page: frame - page for page, frame in frames.items() if first <= page < first + pages}
        assert len(set(inside.values())) <= 1, inside


@pytest.mark.parametrize("boot_name", BOOTS)
def test_frames(boot, boot_name):
    check_frames(boot, {page_of(line): access.hpa // PAGE for line, access in pairs(boot)})


@pytest.mark.boot("oracle@qemu-npt")
def test_the_cpu_walked_these_tables(boot):
    """It has set the accessed bits of all entries on the way; G_PAT is what the guest wrote."""
    for line, access in pairs(boot):
        idle = [level for level, entry in access.guest + access.second if not entry & memory.ACCESSED]
        assert not idle, f"BAR2 page {page_of(line)}: not accessed at levels {idle}"
        assert boot.seen.pat == line["pat"]


@pytest.mark.boot("oracle@qemu-npt")
def test_every_page_of_bar2(boot):
    """Not only the touched ones: each page of each range, and no page besides."""
    assert boot.seen is not None, boot.show()
    wrong = []
    for page, access in enumerate(boot.seen.bar2):
        there = expected(page) if expected(page) and not expected(page)[0][4] else None
        want = there and (*there[0][2:4], there[1])
        seen = access and (access.type, access.rights, access.level)
        if seen != want or (access and access.problems()):
            wrong.append(f"BAR2 page {page}: (type, rights, level) is {seen}, expected {want} "
                         f"{access.problems() if access else ''}")
    assert not wrong, "\n".join(wrong[:20])
    check_frames(boot, {page: access.hpa // PAGE for page, access in enumerate(boot.seen.bar2) if access})


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
    (access,) = oracle.accesses(TRACE, oracle.EptAccess)
    assert (access.gva, access.gpa, access.hpa) == (0x40001008, 0x80001008, 0x3005008)
    assert (access.type, access.rights, access.ipat, access.level) == (oracle.WT, 3, True, 1)
    assert access.pat_index == 5 and access.problems() == []
    assert access.effective(0x0106050400070106) == oracle.WT
    (access,) = oracle.accesses(TRACE.replace("0x03005063", "0x03005033"), oracle.EptAccess)
    assert access.effective(0x0106050400070106) == oracle.WP  # WB leaf, PA5 is WP
    (access,) = oracle.accesses(TRACE.replace("PHY 0x000003005008", "PHY 0x000003006008"), oracle.EptAccess)
    assert access.problems()


NPT_TRACE = """\
(0) Magic breakpoint
[CPU0 RD]: PHY 0x000000031000 (len=8, INVALID): 0x00000000 0x00032027	; PML4E
[CPU0 RD]: PHY 0x000000032000 (len=8, INVALID): 0x00000000 0x00033027	; PDPTE
[CPU0 RD]: PHY 0x000000033000 (len=8, INVALID): 0x00000000 0x016000E7	; PDE
[CPU0 RD]: PHY 0x0000017d1000 (len=8, WB): 0x00000000 0x001D2023	; PML4E
[CPU0 RD]: PHY 0x0000017d2008 (len=8, WB): 0x00000000 0x00122023	; PDPTE
[CPU0 RD]: PHY 0x000001722000 (len=8, WB): 0x00000000 0x00124003	; PDE
[CPU0 RD]: PHY 0x000001724000 (len=8, WB): 0x00000000 0xD000008B	; PTE
[CPU0 WR]: PHY 0x000001724000 (len=8, WB): 0x00000000 0xD00000AB	; PTE
[CPU0 RD]: PHY 0x000000031000 (len=8, INVALID): 0x00000000 0x00032027	; PML4E
[CPU0 RD]: PHY 0x000000032018 (len=8, INVALID): 0x00000000 0x00035007	; PDPTE
[CPU0 RD]: PHY 0x000000035400 (len=8, INVALID): 0x00000000 0x00036007	; PDE
[CPU0 RD]: PHY 0x000000036000 (len=8, INVALID): 0x80000000 0x0560009D	; PTE
[CPU0 WR]: PHY 0x000000036000 (len=8, INVALID): 0x80000000 0x056000BD	; PTE
[CPU0 RD]: LIN 0x0000000040000008 PHY 0x000005600008 (len=4, WB): 0x00000000
"""


def test_arithmetic_of_npt():
    (access,) = oracle.accesses(NPT_TRACE, oracle.NptAccess)
    assert (access.gva, access.gpa, access.hpa) == (0x40000008, 0xd0000008, 0x5600008)
    assert (access.type, access.rights, access.ipat, access.level) == (oracle.WT, 1, False, 1)
    assert access.pat_index == 5 and access.problems() == []
    assert access.effective(0x0106050400070106) == oracle.UC  # PA5 is WP, which over WT is neither
    assert access.effective(0x0106060400070106) == oracle.WT
    assert access.effective(0x0106010400070106) == oracle.WC


@pytest.mark.parametrize("old, new", [("0x00035007", "0x00035003"), ("0x00036007", "0x0003600F"),
                                      ("0x0560009D", "0x0560000D"), ("PHY 0x000005600008", "PHY 0x000005601008")])
def test_what_is_wrong_with_an_npt_walk(old, new):
    """A supervisor entry, a table that is not walked as WB, UC-, and a CPU that went elsewhere."""
    text = NPT_TRACE.replace(old, new).replace("0x0560000D", "0x05600015")
    (access,) = oracle.accesses(text, oracle.NptAccess)
    assert access.problems()


def test_expected_pages():
    assert expected(0)[0][2:] == (oracle.UC, 1, False) and expected(0)[1] == 1
    assert expected(2) is None and expected(4)[0][4]
    assert expected(4 * 39 + 1)[0][2:] == (oracle.WB, 7, True)
    assert expected(512)[1] == 2 and expected(512 * 10 + 511)[0][2:] == (oracle.WB, 3, True)
    assert expected(512 * 14) is not None and expected(512 * 14)[1] == 1 and expected(512 * 14 + 1) is None
    assert expected(512 * 16 - 2) is None and expected(512 * 16 + 2) is None
