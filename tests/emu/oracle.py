"""Which memory type did the CPU use? Read from the table entries that it walked, not from the hypervisor.

Bochs' debugger prints, with trace-mem on, every guest and EPT entry that an access read, then the access:

    [CPU0 RD]: PHY 0x00001cd07018 (len=8, WB): 0x00000000 0x1CD0806F  ; EPT PTE
    [CPU0 RD]: LIN 0x0000000040000000 PHY 0x00001cd08000 (len=8, WB): 0x...

(The type in brackets is Bochs' own and ignores EPT: it is not looked at.) From the raw entries this module
derives frame, rights, leaf size, IPAT and type with the tables of the manual: SDM 3C "EPT Translation
Mechanism", SDM 3A "Effective Page-Level Memory Types", SDM 3C "Memory Type Used for Translated
Guest-Physical Addresses".
"""

import re

UC, WC, WT, WP, WB, UC_MINUS = 0, 1, 4, 5, 6, 7
NAMES = {UC: "UC", WC: "WC", WT: "WT", WP: "WP", WB: "WB", UC_MINUS: "UC-"}

# EPT type (row) and guest PAT type (column), IPAT clear.
COMBINED = {
    UC: {UC: UC, UC_MINUS: UC, WC: WC, WT: UC, WP: UC, WB: UC},
    WC: {UC: UC, UC_MINUS: WC, WC: WC, WT: UC, WP: UC, WB: WC},
    WT: {UC: UC, UC_MINUS: UC, WC: WC, WT: WT, WP: WP, WB: WT},
    WP: {UC: UC, UC_MINUS: WC, WC: WC, WT: WT, WP: WP, WB: WP},
    WB: {UC: UC, UC_MINUS: UC, WC: WC, WT: WT, WP: WP, WB: WB},
}

LINE = re.compile(r"^\[CPU0 (RD|WR|RW|EX)\]: (?:LIN 0x([0-9a-fA-F]+) )?PHY 0x([0-9a-fA-F]+) \(len=(\d+), [^)]*\):"
                  r"((?: 0x[0-9a-fA-F]+)*)\s*(?:; (.*?))?\s*$")
GUEST_LEVELS = {"PML4E": 4, "PDPTE": 3, "PDE": 2, "PTE": 1}
EPT_LEVELS = {"EPT " + name: level for name, level in GUEST_LEVELS.items()}
STOP = "Magic breakpoint"

FRAME_MASK = (1 << 52) - 1


def shift(level):
    return 12 + 9 * (level - 1)


class Access:
    """One bracketed access: the address, the guest leaf and the EPT leaf that the CPU read."""

    def __init__(self, gva, phy, guest, ept):
        self.gva = gva
        self.phy = phy
        self.guest = guest  # [(level, entry)], root first
        self.ept = ept      # the walk of the final guest-physical address, root first

    @property
    def guest_level(self):
        return self.guest[-1][0]

    @property
    def level(self):
        return self.ept[-1][0]

    @property
    def leaf(self):
        return self.ept[-1][1]

    @property
    def gpa(self):
        low = (1 << shift(self.guest_level)) - 1
        return (self.guest[-1][1] & FRAME_MASK & ~low) | (self.gva & low)

    @property
    def hpa(self):
        low = (1 << shift(self.level)) - 1
        return (self.leaf & FRAME_MASK & ~low) | (self.gpa & low)

    @property
    def rights(self):
        """Bits R 1, W 2, X 4 that the whole walk allows."""
        allowed = 7
        for _, entry in self.ept:
            allowed &= entry & 7
        return allowed

    @property
    def type(self):
        return self.leaf >> 3 & 7

    @property
    def ipat(self):
        return bool(self.leaf >> 6 & 1)

    @property
    def pat_index(self):
        entry = self.guest[-1][1]
        pat_bit = 7 if self.guest_level == 1 else 12
        return (entry >> 3 & 3) | (entry >> pat_bit & 1) << 2

    def effective(self, pat):
        """The memory type, with the guest's IA32_PAT `pat`."""
        if self.ipat:
            return self.type
        return COMBINED[self.type][pat >> 8 * self.pat_index & 7]

    def problems(self):
        """What is wrong with the walk as such."""
        found = []
        levels = [level for level, _ in self.ept]
        if levels != list(range(4, self.level - 1, -1)):
            found.append(f"the EPT walk has levels {levels}")
        if self.level > 1 and not self.leaf >> 7 & 1:
            found.append("the last EPT entry is no leaf")
        if self.type not in COMBINED:
            found.append(f"EPT type {self.type} is reserved")
        if not self.rights & 1 and self.rights & 2:
            found.append("writeable and not readable")
        if self.hpa != self.phy:
            found.append(f"the leaf gives {self.hpa:#x}, the CPU used {self.phy:#x}")
        return found


def value(words):
    """The debugger prints 8 bytes as two words, high first."""
    number = 0
    for word in words.split():
        number = number << 32 | int(word, 16)
    return number


def accesses(text):
    """All data accesses of the trace that came with a full walk."""
    found, guest, ept = [], [], []
    for line in text.splitlines():
        if STOP in line:
            guest, ept = [], []
            continue
        match = LINE.match(line)
        if not match:
            continue
        kind, linear, physical, _, words, comment = match.groups()
        if linear is not None:
            if guest and ept:
                found.append(Access(int(linear, 16), int(physical, 16), guest, ept))
            guest, ept = [], []
        elif kind == "RD" and comment in EPT_LEVELS:
            level = EPT_LEVELS[comment]
            if level == 4:
                ept = []
            ept.append((level, value(words)))
        elif kind == "RD" and comment in GUEST_LEVELS:
            level = GUEST_LEVELS[comment]
            if level == 4:
                guest = []
            guest.append((level, value(words)))
            ept = []
    return found
