"""
What this work tree changes against the reviewed snapshots, in the words of `cdk diff` and without AWS.

The snapshots are the work tree's own, or those of a commit: a pull request changes its snapshots along with its stacks.
"""

import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from constructs_lib.repository import REPOSITORY

SNAPSHOTS = REPOSITORY / "tests" / "snapshots"
_ASSET_HASH = re.compile(r"\b[0-9a-f]{64}\b")

# The CLI counts the stacks of each call, which is one.
_COUNT = re.compile(r"^.*Number of stacks with differences: \d+$", re.MULTILINE)
# The tests make snapshots without what the CLI adds.
_WITHOUT_METADATA = ("--no-path-metadata", "--no-asset-metadata", "--no-version-reporting")


def masked(template: str) -> str:
    """`template` without the hashes of assets, which change with every model: snapshots are about infrastructure."""
    return _ASSET_HASH.sub("<asset-hash>", template)


def snapshot(stack_name: str) -> Path:
    """The reviewed template of a stack."""
    return SNAPSHOTS / f"{stack_name}.template.json"


def main(arguments: Sequence[str]) -> int:
    """`[COMMIT]`: prints what changes in each stack; returns 1 if synth or a comparison failed, else 0."""
    with tempfile.TemporaryDirectory(prefix="dbt-diff-") as temporary:
        assembly = Path(temporary) / "cdk.out"
        snapshots = _snapshots_of(arguments[0], Path(temporary)) if arguments else SNAPSHOTS
        if snapshots is None:
            return 1
        synthesized, text = _cdk(
            "synth", "--quiet", "--no-lookups", "--output", str(assembly), *_WITHOUT_METADATA, "**"
        )
        if not synthesized:
            print(text)
            return 1
        changes: list[str] = []
        compared = True
        seen: set[Path] = set()
        for stack_id, stack_name, template in _stacks(assembly):
            template.write_text(masked(template.read_text()))
            reviewed = snapshots / snapshot(stack_name).name
            seen.add(reviewed)
            if not reviewed.is_file():
                changes.append(f"Stack {stack_id} is new")
                continue
            diff = ["diff", "--quiet", "--app", str(assembly), "--exclusively", "--template", str(reviewed), stack_id]
            done, text = _cdk(*diff)
            compared = compared and done
            changes += [_COUNT.sub("", text).strip()]
        for gone in sorted(set(snapshots.glob("*.template.json")) - seen):
            changes.append(f"Stack {gone.name.removesuffix('.template.json')} is gone")
        print("\n\n".join(filter(None, changes)) or "There were no differences")
        return int(not compared)


def _cdk(*arguments: str) -> tuple[bool, str]:
    """Whether the CDK CLI ended well, and what it said."""
    done = subprocess.run(
        [str(REPOSITORY / "node_modules/.bin/cdk"), *arguments],
        cwd=REPOSITORY,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode == 0, done.stdout


def _snapshots_of(commit: str, folder: Path) -> Path | None:
    """The snapshots of `commit`, written below `folder`; None, and git has said why, if there is no such commit."""
    place = SNAPSHOTS.relative_to(REPOSITORY)
    archive = subprocess.run(
        ["git", "archive", commit, "--", str(place)], cwd=REPOSITORY, check=False, stdout=subprocess.PIPE
    )
    if archive.returncode != 0:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder / place


def _stacks(assembly: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield id, name and template file of each stack."""
    for manifest in sorted(assembly.glob("assembly-*/manifest.json")):
        for artifact in json.loads(manifest.read_text())["artifacts"].values():
            if artifact["type"] == "aws:cloudformation:stack":
                properties = artifact["properties"]
                yield artifact["displayName"], properties["stackName"], manifest.parent / properties["templateFile"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
