"""What this work tree changes against the reviewed snapshots, in the words of `cdk diff` and without AWS."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from constructs_lib.repository import REPOSITORY

SNAPSHOTS = REPOSITORY / "tests" / "snapshots"
_ASSET_HASH = re.compile(r"\b[0-9a-f]{64}\b")

# The tests make snapshots without what the CLI adds.
_WITHOUT_METADATA = ("--no-path-metadata", "--no-asset-metadata", "--no-version-reporting")


def masked(template: str) -> str:
    """`template` without the hashes of assets, which change with every model: snapshots are about infrastructure."""
    return _ASSET_HASH.sub("<asset-hash>", template)


def snapshot(stack_name: str) -> Path:
    """The reviewed template of a stack."""
    return SNAPSHOTS / f"{stack_name}.template.json"


def main() -> int:
    """Print what changes in each stack; returns 1 if synth or a comparison failed, else 0."""
    with tempfile.TemporaryDirectory(prefix="dbt-diff-") as temporary:
        assembly = Path(temporary) / "cdk.out"
        synth = ["npx", "cdk", "synth", "--quiet", "--no-lookups", "--output", str(assembly), *_WITHOUT_METADATA, "**"]
        if subprocess.run(synth, cwd=REPOSITORY, check=False).returncode != 0:
            return 1
        failed = False
        seen: set[Path] = set()
        for stack_id, stack_name, template in _stacks(assembly):
            template.write_text(masked(template.read_text()))
            reviewed = snapshot(stack_name)
            seen.add(reviewed)
            if not reviewed.is_file():
                print(f"Stack {stack_id} is new")
                continue
            diff = [
                "npx",
                "cdk",
                "diff",
                "--app",
                str(assembly),
                "--exclusively",
                "--template",
                str(reviewed),
                stack_id,
            ]
            failed = subprocess.run(diff, cwd=REPOSITORY, check=False).returncode != 0 or failed
        for gone in sorted(set(SNAPSHOTS.glob("*.template.json")) - seen):
            print(f"Stack {gone.name.removesuffix('.template.json')} is gone")
        return int(failed)


def _stacks(assembly: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield id, name and template file of each stack."""
    for manifest in sorted(assembly.glob("assembly-*/manifest.json")):
        for artifact in json.loads(manifest.read_text())["artifacts"].values():
            if artifact["type"] == "aws:cloudformation:stack":
                properties = artifact["properties"]
                yield artifact["displayName"], properties["stackName"], manifest.parent / properties["templateFile"]


if __name__ == "__main__":
    sys.exit(main())
