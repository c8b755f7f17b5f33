"""Which memory type did the CPU use? Read from the table entries that it walked, not from the hypervisor.

Bochs' debugger prints, with trace-mem on, every guest and second-level entry that an access read, then the access:

    [CPU0 RD]: PHY 0x00001cd07018 (len=8, WB): 0x00000000 0x1CD0806F  ; EPT PTE
    [CPU0 RD]: PHY 0x000000036000 (len=8, INVALID): 0x80000000 0x0560001D  ; PTE
    [CPU0 RD]: LIN 0x0000000040000000 PHY 0x00001cd08000 (len=8, WB): 0x...

The second line is how an NPT entry looks: as one of the guest's, with no type. (The types in brackets are Bochs'
own and ignore the tables: they are not looked at otherwise.) QEMU cannot trace; there memory.py reads the tables.

From the raw entries this module derives frame, rights, leaf size, IPAT and type with the tables of the manuals.
EPT: SDM 3C "EPT Translation Mechanism" and "Memory Type Used for Translated Guest-Physical Addresses", SDM 3A
"Effective Page-Level Memory Types". NPT: APM 2 "Nested Paging", "Combining Memory Types, MTRRs".
"""

import re

UC, WC, WT, WP, WB, UC_MINUS = 0, 1, 4, 5, 6, 7
WC_PLUS = 8  # only between NPT's two tables: a WC whose final word has the MTRR
NAMES = {UC: "UC", WC: "WC", WT: "WT", WP: "WP", WB: "WB", UC_MINUS: "UC-"}

# EPT type (row) and guest PAT type (column), IPAT clear.
COMBINED_EPT = {
    UC: {UC: UC, UC_MINUS: UC, WC: WC, WT: UC, WP: UC, WB: UC},
    WC: {UC: UC, UC_MINUS: WC, WC: WC, WT: UC, WP: UC, WB: WC},
    WT: {UC: UC, UC_MINUS: UC, WC: WC, WT: WT, WP: WP, WB: WT},
    WP: {UC: UC, UC_MINUS: WC, WC: WC, WT: WT, WP: WP, WB: WP},
    WB: {UC: UC, UC_MINUS: UC, WC: WC, WT: WT, WP: WP, WB: WB},
}

# Type of the nested entry (row) and guest PAT type (column).
COMBINED_NPT = {
    UC: {UC: UC, UC_MINUS: UC, WC: WC, WP: UC, WT: UC, WB: UC},
    WC: {UC: UC, UC_MINUS: WC, WC: WC, WP: UC, WT: UC, WB: WC},
    WP: {UC: UC, UC_MINUS: UC, WC: WC_PLUS, WP: WP, WT: UC, WB: WP},
    WT: {UC: UC, UC_MINUS: UC, WC: WC_PLUS, WP: UC, WT: WT, WB: WT},
    WB: {UC: UC, UC_MINUS: UC, WC: WC_PLUS, WP: WP, WT: WT, WB: WB},
}
# What that gives over a frame whose MTRR says WB, as it does for RAM. Uncached is UC here, by whatever name.
OVER_WB_MTRR = {UC: UC, WC: WC, WC_PLUS: WC, WP: WP, WT: WT, WB: WB}
# The PAT that the host must have while a guest runs: an NPT entry holds an index into it.
HOST_PAT = [WB, WC, UC_MINUS, UC, WB, WP, UC_MINUS, WT]

LINE = re.compile(r"^\[CPU0 (RD|WR|RW|EX)\]: (?:LIN 0x([0-9a-fA-F]+) )?PHY 0x([0-9a-fA-F]+) \(len=(\d+), ([^)]*)\):"
                  r"((?: 0x[0-9a-fA-F]+)*)\s*(?:; (.*?))?\s*$")
LEVELS = {"PML4E": 4, "PDPTE": 3, "PDE": 2, "PTE": 1}
STOP = "Magic breakpoint"

FRAME_MASK = (1 << 52) - 1
LARGE = 1 << 7


def shift(level):
    return 12 + 9 * (level - 1)


def large_or_last(level, entry):
    return level == 1 or bool(entry & LARGE)


def pat_index(level, entry):
    """In the format of ordinary page tables, which is the guest's and NPT's."""
    pat_bit = 7 if level == 1 else 12
    return (entry >> 3 & 3) | (entry >> pat_bit & 1) << 2


def frame(level, entry, address):
    low = (1 << shift(level)) - 1
    return (entry & FRAME_MASK & ~low) | (address & low)


class Access:
    """One access: the address, the guest's walk, the second-level walk of what it gave. Subclasses know the format."""

    def __init__(self, gva, phy, guest, second):
        self.gva = gva
        self.phy = phy        # where the CPU read; None when nobody saw it
        self.guest = guest    # [(level, entry)], root first
        self.second = second  # likewise

    @property
    def level(self):
        return self.second[-1][0]

    @property
    def leaf(self):
        return self.second[-1][1]

    @property
    def gpa(self):
        return frame(*self.guest[-1], self.gva)

    @property
    def hpa(self):
        return frame(self.level, self.leaf, self.gpa)

    @property
    def pat_index(self):
        return pat_index(*self.guest[-1])

    def problems(self):
        """What is wrong with the walk as such."""
        found = []
        levels = [level for level, _ in self.second]
        if levels != list(range(4, self.level - 1, -1)):
            found.append(f"the second-level walk has levels {levels}")
        if not large_or_last(self.level, self.leaf):
            found.append("the last entry is no leaf")
        if self.type not in (UC, WC, WT, WP, WB):
            found.append(f"the leaf has type {self.type}")
        if self.phy is not None and self.hpa != self.phy:
            found.append(f"the leaf gives {self.hpa:#x}, the CPU used {self.phy:#x}")
        return found + self.format_problems()


class EptAccess(Access):
    @staticmethod
    def is_second(kind, comment):
        return comment.startswith("EPT ")

    @property
    def rights(self):
        """Bits R 1, W 2, X 4 that the whole walk allows."""
        allowed = 7
        for _, entry in self.second:
            allowed &= entry & 7
        return allowed

    @property
    def type(self):
        return self.leaf >> 3 & 7

    @property
    def ipat(self):
        return bool(self.leaf >> 6 & 1)

    def effective(self, pat):
        """The memory type, with the guest's IA32_PAT `pat`."""
        if self.ipat:
            return self.type
        return COMBINED_EPT[self.type][pat >> 8 * self.pat_index & 7]

    def format_problems(self):
        return ["writeable and not readable"] if not self.rights & 1 and self.rights & 2 else []


class NptAccess(Access):
    WRITE, USER, PWT_PCD, NO_EXECUTE = 1 << 1, 1 << 2, 3 << 3, 1 << 63
    ipat = False

    @staticmethod
    def is_second(kind, comment):
        return kind == "INVALID"

    @property
    def rights(self):
        entries = [entry for _, entry in self.second]
        return all(entry & 1 for entry in entries) | all(entry & self.WRITE for entry in entries) << 1 | \
            (not any(entry & self.NO_EXECUTE for entry in entries)) << 2

    @property
    def type(self):
        return HOST_PAT[pat_index(self.level, self.leaf)]

    def effective(self, pat):
        return OVER_WB_MTRR[COMBINED_NPT[self.type][pat >> 8 * self.pat_index & 7]]

    def format_problems(self):
        found = []
        if not all(entry & self.USER for _, entry in self.second):
            found.append("an entry is for the supervisor, but nested walks count as user accesses")
        if any(entry & self.PWT_PCD for _, entry in self.second[:-1]):
            found.append("a table is walked with another type than WB")
        return found


def value(words):
    """The debugger prints 8 bytes as two words, high first."""
    number = 0
    for word in words.split():
        number = number << 32 | int(word, 16)
    return number


def accesses(text, kind):
    """All data accesses of the trace that came with a full walk, as objects of the class `kind`."""
    found, guest, second = [], [], []
    for line in text.splitlines():
        if STOP in line:
            guest, second = [], []
            continue
        match = LINE.match(line)
        if not match:
            continue
        what, linear, physical, _, memory_type, words, comment = match.groups()
        level = LEVELS.get((comment or "").replace("EPT ", ""))
        if linear is not None:
            if guest and second:
                found.append(kind(int(linear, 16), int(physical, 16), guest, second))
            guest, second = [], []
        elif what == "RD" and level:
            if kind.is_second(memory_type, comment):
                second = (second if level != 4 else []) + [(level, value(words))]
            else:
                guest = (guest if level != 4 else []) + [(level, value(words))]
                second = []
    return found
