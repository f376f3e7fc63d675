"""
The commands of the documentation that need no account, each as a reader types it, in a clone of this repository.

Those about an account are run in tests/e2e. tests/unit/test_documented_commands.py asks that every documented command is run.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from local_cloud.cdk_cli import REPOSITORY_ROOT
from local_cloud.fork import Fork
from tests.e2e.analyst import ended, start_make

_PACKAGES_OF_PAGES = "pages/node_modules"
_KNOWN = ("dbt-graph", "sqlfluff")
_COPIED = "functions/pages_access/node_modules"
_NOT_THE_READERS = ("MAKE", "MFLAGS", "CI", "GITHUB_", "GITLAB_", "AWS_")
# One environment is synthesized in a third of the time of all.
_SIZE = "cpu_units=1024, memory_mib=2048"
_ONE_ENVIRONMENT = "\nENVIRONMENTS = (LOCAL,)\n"


class Reader:
    """Who has cloned the repository and types what the documentation says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            # Of the job or the `make` that may run these tests they hear nothing.
            **{name: value for name, value in os.environ.items() if not name.startswith(_NOT_THE_READERS)},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "CDK_VALIDATION": "false",
            "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(REPOSITORY_ROOT / ".local-cloud/cache/jsii"),
        }
        self._fork = Fork(folder, installed=[_PACKAGES_OF_PAGES])
        # What is not committed yet is tried, too.
        listed = ["git", "ls-files", "--modified", "--others", "--exclude-standard"]
        changed = subprocess.run(listed, cwd=REPOSITORY_ROOT, check=True, capture_output=True, text=True).stdout
        for name in changed.splitlines():
            if (REPOSITORY_ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(REPOSITORY_ROOT / name, folder / name)
        # What was parsed and linted is known by its content.
        (folder / ".cache").mkdir()
        for name in _KNOWN:
            (REPOSITORY_ROOT / ".cache" / name).mkdir(parents=True, exist_ok=True)
            (folder / ".cache" / name).symlink_to(REPOSITORY_ROOT / ".cache" / name)
        # A bundle is made in the folder of its packages, so that a link would lead it out of the clone.
        shutil.copytree(REPOSITORY_ROOT / _COPIED, folder / _COPIED, symlinks=True)
        self._fork.age_locks_beside(_COPIED)
        with (folder / "stacks/environments.py").open("a", encoding="utf-8") as settings:
            settings.write(_ONE_ENVIRONMENT)
        for snapshot in (folder / "tests/snapshots").iterdir():
            if not snapshot.name.startswith("local-"):
                snapshot.unlink()
        self.commit()

    def make(self, target: str, **variables: object) -> tuple[int, str]:
        """The command's exit code, which make only writes, and its output."""
        return ended(start_make(self.folder, self._environment, target, variables))

    def commit(self) -> None:
        """Keep what is changed."""
        self._fork.git("add", "--all")
        self._fork.git("commit", "--quiet", "--allow-empty", "--message=As it is")

    def changes(self) -> str:
        """What the commands have changed of what is committed, as git says it."""
        return self._fork.git("status", "--porcelain")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Who types all of these."""
    return Reader(tmp_path_factory.mktemp("reader") / "dbt")


def expect(said: Mapping[str, tuple[int, str]], words: Mapping[str, str]) -> None:
    """Raise unless each command ended well and said its words."""
    assert {what: code for what, (code, _) in said.items() if code != 0} == {}, said
    assert {what for what, (_, text) in said.items() if words[what] not in text} == set(), said


def test_commands_are_listed_and_there_at_once(reader: Reader) -> None:
    """`make help` names each with what it does; what is set up already is not set up again."""
    expect(
        {"help": reader.make("help"), "setup": reader.make("setup")},
        {"help": "make deploy", "setup": "Nothing to be done"},
    )


def test_templates_are_written_compared_and_accepted(reader: Reader) -> None:
    """What a change does is said, against the snapshots of a commit, and accepted."""
    expect({"synth": reader.make("synth")}, {"synth": "cdk synth"})
    assert (reader.folder / "cdk.out/manifest.json").is_file()
    settings = reader.folder / "stacks/environments.py"
    text = settings.read_text(encoding="utf-8")
    assert _SIZE in text
    settings.write_text(text.replace(_SIZE, "cpu_units=2048, memory_mib=4096"), encoding="utf-8")
    changed = {"ci-diff": reader.make("ci-diff", BASE="HEAD"), "snapshots": reader.make("snapshots")}
    expect(changed, {"ci-diff": "", "snapshots": "passed"})
    difference = (reader.folder / "build/diff.txt").read_text(encoding="utf-8")
    commented = reader.make("ci-comment")
    snapshots = reader.changes()
    reader.commit()

    assert "2048" in difference
    assert "tests/snapshots/local-dbt-bookshop.template.json" in snapshots
    assert (commented[0], "no comment: this job belongs to no pull request" in commented[1]) == (0, True), commented


def test_cost_is_told(reader: Reader) -> None:
    """A table of the environment's runs."""
    expect({"cost": reader.make("cost", ENV="local", MINUTES=10)}, {"cost": "bookshop"})


def test_what_is_built_and_committed_is_built_again(reader: Reader) -> None:
    """The pages and the sign-in, byte for byte."""
    expect(
        {"pages": reader.make("pages"), "sign-in": reader.make("sign-in")},
        {"pages": "Build the pages", "sign-in": "Bundle the sign-in"},
    )

    assert reader.changes() == ""


def test_hooks_are_installed(reader: Reader) -> None:
    """Where git looks for them."""
    expect({"hooks": reader.make("hooks")}, {"hooks": "pre-commit installed"})

    assert (reader.folder / ".git/hooks/pre-commit").is_file()
    (reader.folder / ".git/hooks/pre-commit").unlink()


def test_fix_applies_what_can_be_fixed(reader: Reader) -> None:
    """And changes nothing of what passes the checks."""
    bad = reader.folder / "tools/bad.py"
    bad.write_text('"""Bad."""\nx = {  "a":1 }\n', encoding="utf-8")
    fixed = reader.make("fix")
    text = bad.read_text(encoding="utf-8")
    bad.unlink()

    expect({"fix": fixed}, {"fix": "reformatted"})
    assert 'x = {"a": 1}' in text
    assert reader.changes() == ""


def test_a_new_project_gets_its_packages_and_a_dbt_of_its_own(reader: Reader) -> None:
    """A package of a folder is copied beside the project, and a file of requirements is locked with hashes."""
    made = reader.make("new-project", NAME="book_sales")
    project = reader.folder / "projects/book_sales"
    (project / "packages.yml").write_text("packages:\n  - local: ../tools\n", encoding="utf-8")
    package = reader.folder / "projects/tools"
    package.mkdir()
    (package / "dbt_project.yml").write_text("name: tools\nconfig-version: 2\n", encoding="utf-8")
    (project / "requirements.in").write_text("pyyaml\n", encoding="utf-8")
    packages = reader.make("packages", PROJECT="projects/book_sales")
    pinned = reader.make("pin", REQUIREMENTS="projects/book_sales/requirements.in")
    expect(
        {"new-project": made, "packages": packages, "pin": pinned},
        {"new-project": "book_sales", "packages": "dbt deps", "pin": "Lock"},
    )

    assert (project / "dbt_packages/tools").exists()
    assert "--hash=sha256:" in (project / "requirements.txt").read_text(encoding="utf-8")
    shutil.rmtree(project)
    shutil.rmtree(package)


def test_stopping_what_does_not_run_is_nothing_wrong(reader: Reader) -> None:
    """`make demo-stop` where no demo was kept."""
    expect({"demo-stop": reader.make("demo-stop")}, {"demo-stop": "Stop the local cloud"})


@pytest.mark.parametrize(
    ("target", "variables", "error"),
    [
        ("demo", {"PROJECT": "/no/such/project"}, "/no/such/project"),
        ("demo", {"RAW_SQL": "/no/such.sql"}, "the file with raw data does not exist: /no/such.sql"),
        ("bench", {"ONLY": "no-such-figure"}, "no such figure: no-such-figure"),
        ("credentials", {"ENV": "nowhere"}, "environment must be one of local, got 'nowhere'"),
        ("ci-try", {"PR": "17"}, "name the commit to compare with and the pull request"),
        ("deploy", {}, "name the environment: make deploy ENV=dev"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    reader: Reader, target: str, variables: Mapping[str, str], error: str
) -> None:
    """Before anything is started; the same commands about what is there take minutes or an account."""
    code, output = reader.make(target, **variables)

    assert code == 2 or (target == "credentials" and code == 1), output
    assert error in output
    assert "Traceback" not in output
