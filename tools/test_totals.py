"""
`python -m tools.test_totals FOLDER SUITE …`: how many tests each suite has run, and all together.

The last line is `N passed, N failed, N skipped`, for people and for whoever reads the end of a log.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.table import Table


class Totals(NamedTuple):
    """What one suite, or all of them, came to; a test that could not be set up has failed."""

    passed: int
    failed: int
    skipped: int
    seconds: float


def totals_of(report: Path) -> Totals:
    """The totals of one file that pytest's `--junitxml` wrote; raises OSError or ParseError if there is none."""
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - our own pytest has written it a moment ago
    passed, failed, skipped, seconds = 0, 0, 0, 0.0
    for suite in suites:
        bad = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
        left_out = int(suite.attrib["skipped"])
        passed += int(suite.attrib["tests"]) - bad - left_out
        failed += bad
        skipped += left_out
        seconds += float(suite.attrib["time"])
    return Totals(passed, failed, skipped, seconds)


def main(arguments: Sequence[str] = tuple(sys.argv[1:])) -> int:
    """Show the table; returns 1 if a test failed, or if a suite has run none."""
    folder, *names = arguments
    found: dict[str, Totals] = {}
    for name in names:
        try:
            found[name] = totals_of(Path(folder) / f"{name}.xml")
        except (OSError, ET.ParseError) as error:
            print(f"error: no results of {name}: {error}", file=sys.stderr)
            return 1
    table = Table("suite", "passed", "failed", "skipped", "minutes", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, of_suite in found.items():
        table.add_row(name, *(str(number) for number in of_suite[:3]), f"{of_suite.seconds / 60:.1f}")
    Console().print(table)
    passed, failed, skipped, _ = (sum(column) for column in zip(*found.values(), strict=True))
    empty = [name for name, of_suite in found.items() if not of_suite.passed + of_suite.failed]
    if empty:
        print(f"error: no test was run of {', '.join(empty)}", file=sys.stderr)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or empty else 0


if __name__ == "__main__":
    sys.exit(main())
