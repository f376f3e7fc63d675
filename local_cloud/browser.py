"""The browser that tests, pictures and benchmarks open pages in: Chromium, or Chrome where that is there."""

import shutil
from collections.abc import Callable

from local_cloud import debian_packages

_PROGRAMS = ("chromium", "google-chrome")


class NoBrowserError(RuntimeError):
    """There is no browser, and none can be installed."""


def ensure_browser(report: Callable[[str], None]) -> str:
    """
    The program's path; Debian's package is installed where there is none and that may be done, which `report` gets a sentence of.

    Raises NoBrowserError that says what to install.
    """
    found = _find()
    if found is None and debian_packages.may_install():
        report("no browser here: installing chromium with apt-get")
        try:
            debian_packages.install(["chromium"])
        except debian_packages.NotInstalledError as error:
            raise NoBrowserError(str(error)) from error
        found = _find()
    if found is None:
        raise NoBrowserError(f"a browser is needed, one of {', '.join(_PROGRAMS)}; as root: apt-get install chromium")
    return found


def _find() -> str | None:
    return next((path for name in _PROGRAMS if (path := shutil.which(name)) is not None), None)
