"""`make diff` says what changes against the reviewed snapshots, and `make ci-diff` against those of another commit."""

import json
import subprocess
from pathlib import Path

import pytest

from stacks import diff

_TEMPLATE = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose last commit has snapshots of stacks `dev-dbt` and `gone`, and whose work tree has those of none."""
    folder = tmp_path / "repository"
    snapshots = folder / "tests/snapshots"
    snapshots.mkdir(parents=True)
    for name in ("dev-dbt", "gone"):
        (snapshots / f"{name}.template.json").write_text(json.dumps(_TEMPLATE))
    for command in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "x"),
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    for file in snapshots.iterdir():
        file.unlink()
    monkeypatch.setattr(diff, "REPOSITORY", folder)
    monkeypatch.setattr(diff, "SNAPSHOTS", snapshots)
    cdk = folder / "node_modules/.bin/cdk"
    cdk.parent.mkdir(parents=True)
    # Synthesizes two stacks, and tells which template it was given to compare with.
    cdk.write_text(
        """#!/bin/sh
[ "$1" = synth ] || { for word; do last="$before"; before="$word"; done; echo "compared with"; cat "$last"; exit; }
while [ "$1" != --output ]; do shift; done
mkdir -p "$2/assembly-dev" && cd "$2/assembly-dev"
for name in dev-dbt new; do
  echo '{}' >"$name.template.json"
  stacks="$stacks${stacks:+,}\\"$name\\": {\\"type\\": \\"aws:cloudformation:stack\\", \\"displayName\\": \\"dev/$name\\",
    \\"properties\\": {\\"stackName\\": \\"$name\\", \\"templateFile\\": \\"$name.template.json\\"}}"
done
echo "{\\"artifacts\\": {$stacks}}" >manifest.json
"""
    )
    cdk.chmod(0o755)
    return folder


def test_stacks_are_compared_with_the_snapshots_of_a_commit(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the work tree's own snapshots are; stacks that are new or gone are named."""
    assert diff.main(["HEAD"]) == 0
    assert (
        capsys.readouterr().out
        == f"compared with\n{json.dumps(_TEMPLATE)}\n\nStack dev/new is new\n\nStack gone is gone\n"
    )


def test_without_a_commit_the_work_trees_own_snapshots_count(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here there are none."""
    assert diff.main([]) == 0
    assert capsys.readouterr().out == "Stack dev/dev-dbt is new\n\nStack dev/new is new\n"


def test_commit_that_is_none_is_an_error(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In git's own words."""
    assert diff.main(["nowhere"]) == 1
    assert "nowhere" in capfd.readouterr().err
