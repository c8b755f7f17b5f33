"""Judges what a boot wrote to the serial console.

The guest prints TAP (https://testanything.org, version 13 as far as used here): a plan "1..N", checks
"ok n - group: text", "ok n - group: text # SKIP reason" or "not ok n - group: text" followed by a comment with
the reason, and at the very end the marker "# barvisor-guest: done, P passed, F failed, S skipped". The hypervisor puts "guest| " before each of the guest's lines
and ends with "vm: stopped: <cause>". A boot passes only if all of that is there and consistent: a silent
console, a missing check or an early end are failures.
"""

import re

GUEST_PREFIX = "guest| "
MARKER = re.compile(r"^# barvisor-guest: done, (\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")
PLAN = re.compile(r"^1\.\.(\d+)$")
CHECK = re.compile(r"^(ok|not ok) (\d+)(?: - (.*?))?(?: # SKIP\b ?(.*))?$")
STOPPED = re.compile(r"^vm: stopped: (.*)$")
BUILD = re.compile(r"^boot: Barvisor \S+, build ([0-9a-f]{40})$")
GUEST_ENDED = "the guest ended it"
ESCAPE = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]|\x1b[()][A-Z0-9]")


def clean(text):
    """Console bytes, decoded, to lines without terminal escapes."""
    return [line.rstrip() for line in ESCAPE.sub("", text.replace("\r", "\n")).split("\n") if line.strip()]


def guest_lines(lines):
    return [line[len(GUEST_PREFIX):] for line in lines if line.startswith(GUEST_PREFIX)]


class Check:
    """One line of TAP."""

    def __init__(self, number, passed, text, skipped):
        self.number = number
        self.passed = passed
        self.text = text
        self.skipped = skipped  # None, or the reason
        self.reason = ""        # the comment after a failed check

    @property
    def group(self):
        return self.text.split(":", 1)[0].strip() or "?"

    def __str__(self):
        return f"{'ok' if self.passed else 'not ok'} {self.number} - {self.text}" + \
            (f" ({self.reason})" if self.reason else "")


class Report:
    """What one boot's console says. `problems` is empty when it passed.

    may_skip: [(pattern of a check's name, the reason that it must give)]. A check that is skipped for anything
    else is a failure.
    bare: the console of a machine without Barvisor, so its lines are the guest's, and nobody says how the VM ended.
    """

    def __init__(self, lines, expect_end=True, may_skip=(), bare=False):
        self.lines = lines
        self.guest = lines if bare else guest_lines(lines)
        self.plan = None
        self.checks = []
        self.marker = None   # (passed, failed, skipped)
        self.stopped = None  # what the hypervisor says about the end of the VM
        self.build = None    # the image's identity, as it prints it
        self.problems = []
        self._read_guest()
        for line in lines:
            stopped, build = STOPPED.match(line), BUILD.match(line)
            if stopped:
                self.stopped = stopped[1]
            if build:
                self.build = build[1]
        self._judge_checks()
        self._judge_skips(may_skip)
        self._judge_marker()
        if not bare:
            self._judge_end(expect_end)

    @property
    def passed(self):
        return not self.problems

    def _read_guest(self):
        failed = None
        for line in self.guest:
            plan, check, marker = PLAN.match(line), CHECK.match(line), MARKER.match(line)
            if plan:
                if self.plan is not None:
                    self.problems.append("a second plan: " + line)
                self.plan = int(plan[1])
            elif check:
                if self.marker:
                    self.problems.append("a check after the final marker: " + line)
                self.checks.append(Check(int(check[2]), check[1] == "ok", check[3] or "", check[4]))
            elif marker:
                if self.marker:
                    self.problems.append("a second final marker")
                self.marker = tuple(int(count or 0) for count in marker.groups())
            elif line.startswith("# ") and failed:
                failed.reason = line[2:]
            failed = self.checks[-1] if check and check[1] == "not ok" else None

    def _judge_checks(self):
        problems, numbers = self.problems, [check.number for check in self.checks]
        problems += [str(check) for check in self.checks if not check.passed]
        if self.plan is None:
            problems.append("the guest printed no plan (1..N)")
            return
        if self.plan == 0:
            problems.append("the guest's plan is empty")
        missing = sorted(set(range(1, self.plan + 1)) - set(numbers))
        if missing:
            problems.append(f"{len(missing)} of {self.plan} planned checks are missing, the first is {missing[0]}")
        if len(numbers) != len(set(numbers)):
            problems.append("a check number appears twice")
        if any(number < 1 or number > self.plan for number in numbers):
            problems.append("a check lies outside the plan")

    def _judge_skips(self, may_skip):
        for check in self.skipped():
            if not check.skipped:
                self.problems.append(f"skipped without a reason: {check}")
            elif not any(re.search(name, check.text) and reason == check.skipped for name, reason in may_skip):
                self.problems.append(f"may not be skipped here: {check} # SKIP {check.skipped}")

    def _judge_marker(self):
        if self.marker is None:
            self.problems.append("the final marker '# barvisor-guest: done, ...' is missing")
            return
        bad = sum(1 for check in self.checks if not check.passed)
        skipped = sum(1 for check in self.checks if check.passed and check.skipped is not None)
        shown = (len(self.checks) - bad - skipped, bad, skipped)
        if self.marker != shown:
            self.problems.append(f"the marker counts {self.marker} (passed, failed, skipped), the console shows {shown}")
        if self.marker[1]:
            self.problems.append(f"the guest counted {self.marker[1]} failed checks")

    def _judge_end(self, expect_end):
        if self.stopped is None:
            self.problems.append("the hypervisor's last line 'vm: stopped: ...' is missing")
        elif not STOPPED.match(self.lines[-1]):
            self.problems.append("'vm: stopped: ...' is not the last line")
        elif expect_end and not self.stopped.startswith(GUEST_ENDED):
            self.problems.append("the VM was stopped by: " + self.stopped)

    def skipped(self):
        return [check for check in self.checks if check.skipped is not None]

    def groups(self):
        """Checks by group, in order of appearance."""
        groups = {}
        for check in self.checks:
            groups.setdefault(check.group, []).append(check)
        return groups
