"""pytest's side of the boots: they start when it is known which tests run; a table closes them."""

import boots
import machine
import pytest

RUNNER = pytest.StashKey()
COUNTS = pytest.StashKey()


def pytest_configure(config):
    config.addinivalue_line("markers", "boot(name): the boot of boots.BOOTS that the test looks at")
    config.stash[RUNNER] = boots.Runner()
    config.stash[COUNTS] = {}


def wanted(item):
    marker = item.get_closest_marker("boot")
    if marker:
        return marker.args[0]
    return getattr(item, "callspec", None) and item.callspec.params.get("boot_name")


def pytest_collection_finish(session):
    if not session.config.option.collectonly:
        session.config.stash[RUNNER].start(name for name in map(wanted, session.items) if name)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Counts the tests of each target."""
    report = (yield).get_result()
    name = wanted(item)
    if name and (report.when == "call" or report.failed):
        counts = item.config.stash[COUNTS].setdefault(boots.BOOTS[name].target.name, [0, 0])
        counts[report.failed] += 1


def row(target, runner, counts):
    why = target.lacks()
    if why:
        return f"{target.name:10} not here: {why}"
    passed, failed = counts.get(target.name, (0, 0))
    verdict = "FAILED" if failed else "passed" if passed else "not run"
    result = runner.finished(f"all@{target.name}")
    guest = f"{'-':>6} {'-':>6} {'-':>7} {'-':>7}  -"
    if result:
        report = result.report
        bad = sum(not check.passed for check in report.checks)
        skipped = len(report.skipped())
        guest = f"{len(report.checks) - bad - skipped:>6} {bad:>6} {skipped:>7} {result.seconds:>5.0f} s  " \
            f"{(report.build or '?')[:12]}"
    return f"{target.name:10} {target.tables:6} {verdict:8} {passed:>3} of {passed + failed:<3} {guest}"


def pytest_terminal_summary(terminalreporter, config):
    """One table, target x result."""
    counts = config.stash[COUNTS]
    if not counts:
        return
    terminalreporter.write_line("")
    terminalreporter.write_line("target     tables result   tests      guest: ok failed skipped    time  image")
    for target in machine.TARGETS:
        terminalreporter.write_line(row(target, config.stash[RUNNER], counts))


def pytest_unconfigure(config):
    config.stash[RUNNER].close()


@pytest.fixture
def boot(request):
    """The finished boot that the test is marked with, or that its parameter boot_name names."""
    return request.config.stash[RUNNER].result(wanted(request.node))


@pytest.fixture
def boot_of(request):
    """Another finished boot, by its name."""
    return request.config.stash[RUNNER].result
