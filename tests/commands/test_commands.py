"""
The commands of the documentation that need no account, each as a reader types it, in a clone of this repository.

Those about an account are run in tests/e2e. tests/unit/test_documented_commands.py asks that every documented command is run.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local_cloud.cdk_cli import REPOSITORY_ROOT
from local_cloud.cloud import share_installed
from local_cloud.fork import Fork
from tests.documented import PAGES, documented, session, typed
from tests.e2e.analyst import ended, start_make

_PACKAGES_OF_PAGES = "pages/node_modules"
_KNOWN = ("dbt-graph", "sqlfluff")
_COPIED = "functions/pages_access/node_modules"
_NOT_THE_READERS = ("MAKE", "MFLAGS", "CI", "GITHUB_", "GITLAB_", "AWS_")
# One environment is synthesized in a third of the time of all.
_SIZE = "cpu_units=1024, memory_mib=2048"
_PNG = b"\x89PNG\r\n\x1a\n"
_FAR_AWAY = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
_ONE_ENVIRONMENT = "\nENVIRONMENTS = (LOCAL,)\n"


def _environment() -> dict[str, str]:
    return {
        # Of the job or the `make` that may run these tests they hear nothing.
        **{name: value for name, value in os.environ.items() if not name.startswith(_NOT_THE_READERS)},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "CDK_VALIDATION": "false",
        "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(REPOSITORY_ROOT / ".local-cloud/cache/jsii"),
    }


class Reader:
    """Who has cloned the repository and types what the documentation says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = _environment()
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
        share_installed(folder / ".local-cloud")
        with (folder / "stacks/environments.py").open("a", encoding="utf-8") as settings:
            settings.write(_ONE_ENVIRONMENT)
        for snapshot in (folder / "tests/snapshots").iterdir():
            if not snapshot.name.startswith("local-"):
                snapshot.unlink()
        self.commit()

    def make(self, target: str, **variables: object) -> tuple[int, str]:
        """The command's exit code, which make only writes, and its output."""
        return ended(start_make(self.folder, self.environment, target, variables))

    def types(
        self, page: str, start: str, filled: Mapping[str, str] | None = None, /, *, below: str = ".", answers: str = ""
    ) -> str:
        """What a command of a page writes, typed in a folder of the clone by someone who answers what it asks."""
        command = documented(page, start, filled)
        return typed(command, environment=self.environment, folder=self.folder / below, standard_input=answers)

    def commit(self) -> None:
        """Keep what is changed."""
        self._fork.git("add", "--all")
        self._fork.git("commit", "--quiet", "--allow-empty", "--message=As it is")

    def changes(self) -> str:
        """What the commands have changed of what is committed, as git says it."""
        return self._fork.git("status", "--porcelain")

    def undo(self) -> None:
        """Leave everything as it is committed."""
        self._fork.git("checkout", "--quiet", ".")


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
    changed = {
        "diff": reader.make("diff"),
        "diff of a commit": reader.make("diff", BASE="HEAD"),
        "ci-diff": reader.make("ci-diff", BASE="HEAD"),
        "snapshots": reader.make("snapshots"),
    }
    expect(changed, {"diff": "2048", "diff of a commit": "2048", "ci-diff": "", "snapshots": "passed"})
    difference = (reader.folder / "build/diff.txt").read_text(encoding="utf-8")
    snapshots = reader.changes()
    reader.commit()

    assert "2048" in difference
    assert "tests/snapshots/local-dbt-bookshop.template.json" in snapshots


def test_comments_are_for_pull_requests(reader: Reader) -> None:
    """Elsewhere the commands that a pipeline writes them with say so; tests/unit/pipelines and test_change_comment.py have one."""
    nowhere = "no comment: this job belongs to no pull request"

    expect(
        {"ci-comment": reader.make("ci-comment"), "ci-try-comment": reader.make("ci-try-comment")},
        {"ci-comment": nowhere, "ci-try-comment": nowhere},
    )


def test_pull_request_of_a_dbt_project_alone_is_checked_as_one(reader: Reader) -> None:
    """What else could break is left out, since all of it is as in the commit that has passed."""
    model = reader.folder / "projects/bookshop/models/marts/core/dim_books.sql"
    model.write_text(model.read_text(encoding="utf-8") + "\n-- As it was.\n", encoding="utf-8")
    snapshots = reader.make("snapshots")
    reader.commit()
    checked = reader.make("ci-check", BASE="HEAD~1")
    by_hand = reader.make("check-projects")

    expect(
        {"snapshots": snapshots, "ci-check": checked, "check-projects": by_hand},
        {
            "snapshots": "passed",
            "ci-check": "the dbt projects alone are checked: nothing else differs from HEAD~1",
            "check-projects": "No secrets",
        },
    )
    assert "No secrets" in checked[1]


def test_wrong_setting_is_said_in_one_line(reader: Reader) -> None:
    """As the page shows it."""
    settings = reader.folder / "stacks/environments.py"
    text = settings.read_text(encoding="utf-8")
    before, name, live = text.partition('name="live"')
    settings.write_text(before + name + live.replace("eu-central-1", "eu-centrall-1", 1), encoding="utf-8")
    command, said = session("docs/settings.md", ".venv/bin/python app.py")
    try:
        with pytest.raises(AssertionError) as error:
            typed(command, environment=reader.environment, folder=reader.folder)
    finally:
        settings.write_text(text, encoding="utf-8")

    assert said in str(error.value)


def test_packages_of_the_sample_are_installed_as_its_readme_says(reader: Reader) -> None:
    """What is committed is what comes of it."""
    reader.types("projects/bookshop/README.md", "dbt deps", below="projects/bookshop")

    assert not (reader.folder / "projects/bookshop/dbt_packages/shop_tools").is_symlink()
    assert reader.changes() == ""


def test_login_is_kept_in_a_file_that_git_ignores(reader: Reader) -> None:
    """Asked for line by line, and the password last."""
    said = reader.types(
        "docs/analyst.md",
        "make credentials",
        {"ENV=dev": "ENV=local"},
        answers="warehouse.example.com\n\nwarehouse\nana\nSecret12\n",
    )

    assert "has it, readable by you alone, and ignored by git" in said
    assert reader.changes() == ""


def test_one_trial_of_the_faults_is_replayed(reader: Reader) -> None:
    """By its seed."""
    expect({"test-faults": reader.make("test-faults", SEED=5000)}, {"test-faults": "1 trials in"})


def test_trials_of_the_faults_end_at_ctrl_c(reader: Reader, tmp_path: Path) -> None:
    """After half a minute instead of half an hour: those under way end in order, what is known by then is told, nothing runs on."""
    environment = {**reader.environment, "TMPDIR": str(tmp_path)}
    trials = start_make(reader.folder, environment, "test-faults", {})
    assert trials.stdout is not None
    said = ""
    for line in trials.stdout:
        said += line
        if re.match(r" +1/228 ", line):
            break
    os.killpg(trials.pid, signal.SIGINT)
    code, told = ended(trials)

    # What a trial of a seed that the clock gave has found is for make test-faults to say.
    assert re.search(r"^ +1/228 ", said, re.MULTILINE), said
    assert re.search(r"\b[1-9]\d? trials in", told), told
    assert code == -signal.SIGINT
    assert at_work(reader.folder) + at_work(tmp_path) == []


def test_figure_is_measured(reader: Reader) -> None:
    """One of the quickest, once; it is kept with the command that measures it."""
    measured = reader.make("bench", ONLY="synth_1", REPEAT=1)
    results = json.loads((reader.folder / "benchmarks/results.json").read_text(encoding="utf-8"))
    changed = reader.changes()
    reader.undo()

    expect({"bench": measured}, {"bench": "synth_1"})
    assert changed.strip() == "M benchmarks/results.json"
    assert "make bench ONLY=synth_1 REPEAT=1" in json.dumps(results)


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


def test_demo_of_a_project_is_kept_and_ended(reader: Reader) -> None:
    """
    The first command of the README, with all that it can be told: a green run, and where to look.

    What `KEEP=1` leaves running is ended by one command; without, the same end comes by itself.
    """
    project = reader.folder.parent / "bookshop"
    shutil.copytree(reader.folder / "projects/bookshop", project)
    kept = reader.make("demo", PROJECT=project, RAW_SQL="local_cloud/sources/bookshop.sql", KEEP=1)
    expect({"demo": kept}, {"demo": "Left running; `make demo-stop` ends it."})
    places = dict(re.findall(r"^  (dbt docs|run report|Airflow) +(\S+)$", kept[1], re.MULTILINE))
    with urllib.request.urlopen(places["Airflow"], timeout=30) as airflow:  # noqa: S310 - on loopback
        answers = airflow.status
    while_kept = at_work(reader.folder)
    expect({"demo-stop": reader.make("demo-stop")}, {"demo-stop": "Stop the local cloud"})

    assert answers == 200
    assert while_kept
    assert at_work(reader.folder) == []
    assert Path(urlsplit(places["dbt docs"]).path).is_file()
    assert b"<html" in Path(urlsplit(places["run report"]).path).read_bytes()


def at_work(folder: Path) -> list[str]:
    """The processes and the mounts that have to do with a folder."""
    processes = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in f"{command} {(process / 'cwd').readlink()}":
                processes.append(command)
    mounts = [line for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines() if str(folder) in line]
    return processes + mounts


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


def test_pictures_of_the_docs_are_taken_anew(reader: Reader) -> None:
    """Each that a page shows, in a real browser, those of the pages and those of Airflow; whether they are good a person looks at."""
    pages = {page: (reader.folder / page).read_text(encoding="utf-8") for page in PAGES}
    pictures = {
        (reader.folder / page).parent / name
        for page, text in pages.items()
        for name in re.findall(r"\]\((?!http)([^)]+\.png)\)", text)
    }
    for picture in pictures:
        picture.unlink(missing_ok=True)
    made = reader.make("screenshots")
    taken = {picture: picture.read_bytes() for picture in pictures}
    changed = {Path(line.split()[-1]) for line in reader.changes().splitlines()}
    reader.undo()

    expect({"screenshots": made}, {"screenshots": "airflow-grid.png: "})
    assert {picture.name for picture, content in taken.items() if not content.startswith(_PNG)} == set()
    assert {picture.name for picture, content in taken.items() if not 20_000 < len(content) < 300_000} == set()
    assert {reader.folder / path for path in changed} <= pictures
    assert at_work(reader.folder) == []


def test_everything_is_locked_anew(tmp_path: Path) -> None:
    """
    Python's packages with their hashes, and Node's.

    With what there was when they were last locked: another's bad release of today is not our failing test.
    """
    folder = tmp_path / "dbt"
    subprocess.run(["git", "clone", "--quiet", REPOSITORY_ROOT, folder], check=True)
    # What is locked would be installed, so that it must count as younger; what is installed is that of this repository.
    for name in (".venv", "node_modules"):
        (folder / name).mkdir()
        (folder / name / ".installed").touch()
        os.utime(folder / name / ".installed", (_FAR_AWAY, _FAR_AWAY))
    for part in Path(sys.prefix).iterdir():
        if part.name != ".installed":
            (folder / ".venv" / part.name).symlink_to(part)
    last = ["git", "log", "-1", "--format=%cI", "requirements.txt"]
    locked_at = subprocess.run(last, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
    # Each is written anew, and not left as it was.
    locks = [path for path in folder.rglob("*requirements.txt") if ".venv" not in path.parts]
    for lock in locks:
        lock.write_text("", encoding="utf-8")
    packages = folder / "package-lock.json"
    wanted = json.loads(packages.read_text(encoding="utf-8"))["packages"]
    packages.write_text(json.dumps({"lockfileVersion": 3, "requires": True, "packages": {}}), encoding="utf-8")
    installed_at = (REPOSITORY_ROOT / ".venv/.installed").stat().st_mtime

    environment = {**_environment(), "UV_EXCLUDE_NEWER": locked_at, "npm_config_before": locked_at}
    code, output = ended(start_make(folder, environment, "lock", {}))
    locked = json.loads(packages.read_text(encoding="utf-8"))["packages"]

    assert code == 0, output
    assert len(locks) > 8
    assert [lock.name for lock in locks if "--hash=sha256:" not in lock.read_text(encoding="utf-8")] == []
    assert set(locked) == set(wanted)
    assert [name for name, package in locked.items() if name and not package.get("integrity")] == []
    assert (REPOSITORY_ROOT / ".venv/.installed").stat().st_mtime == installed_at
