"""The closing line of `make test`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.test_totals import Totals, main, totals_of

_SUITES = {
    "good": "def test_one():\n    pass\n\ndef test_two():\n    pass\n",
    "bad": "import pytest\n\ndef test_one():\n    assert False\n\n@pytest.fixture\ndef broken():\n    raise OSError\n\n"
    "def test_two(broken):\n    pass\n\n@pytest.mark.skip\ndef test_three():\n    pass\n\ndef test_four():\n    pass\n",
    "empty": "",
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pytest itself writes of three suites."""
    folder = tmp_path_factory.mktemp("reports")
    for name, code in _SUITES.items():
        suite = folder / f"test_{name}.py"
        suite.write_text(code, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "-p", "no:cacheprovider", "-p", "no:xdist"]
        subprocess.run(
            [*command, f"--junitxml={folder / name}.xml", suite], cwd=folder, check=False, capture_output=True
        )
    return folder


def test_each_suite_and_all_are_counted(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A test that cannot be set up has failed, and one that is left out has not passed."""
    assert totals_of(reports / "good.xml")[:3] == (2, 0, 0)
    assert totals_of(reports / "bad.xml")[:3] == Totals(1, 2, 1, 0)[:3]

    assert main([str(reports), "good", "bad"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "3 passed, 2 failed, 1 skipped"


def test_what_passed_is_said_so(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last line stands alone, with each suite above it."""
    assert main([str(reports), "good"]) == 0

    *table, last = capsys.readouterr().out.splitlines()
    assert last == "2 passed, 0 failed, 0 skipped"
    assert table[-1].split()[:4] == ["good", "2", "0", "0"]


def test_a_suite_that_ran_nothing_fails(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither tests that are not found nor a suite that was not started look like success."""
    assert main([str(reports), "good", "empty"]) == 1
    assert "no test was run of empty" in capsys.readouterr().err

    assert main([str(reports), "good", "lost"]) == 1
    assert "no results of lost" in capsys.readouterr().err
