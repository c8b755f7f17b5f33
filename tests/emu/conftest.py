"""pytest's side of the boots: they start when it is known which tests run."""

import boots
import pytest

RUNNER = pytest.StashKey()


def pytest_configure(config):
    config.addinivalue_line("markers", "boot(name): the boot of boots.BOOTS that the test looks at")
    config.stash[RUNNER] = boots.Runner()


def wanted(item):
    marker = item.get_closest_marker("boot")
    if marker:
        return marker.args[0]
    return getattr(item, "callspec", None) and item.callspec.params.get("boot_name")


def pytest_collection_finish(session):
    if session.config.option.collectonly:
        return
    for item in session.items:
        name = wanted(item)
        if name:
            session.config.stash[RUNNER].start(name)


def pytest_unconfigure(config):
    config.stash[RUNNER].close()


@pytest.fixture
def boot(request):
    """The finished boot that the test is marked with, or that its parameter boot_name names."""
    return request.config.stash[RUNNER].result(wanted(request.node))
