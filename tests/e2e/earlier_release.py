"""
An earlier state of the templates, put back into a cloud assembly so that the CDK CLI deploys it.

`tests/e2e/earlier/` holds the templates of `lifecycle_app` as they were, with the hashes of assets left out: what a template
asks CloudFormation for is what an upgrade depends on, and files and image are today's.
"""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

from tests.e2e.lifecycle_app import NAME

EARLIER = Path(__file__).parent / "earlier"
_MASK = "<asset-hash>"
_HASH = re.compile(r"[0-9a-f]{64}")


def masked(template: str) -> str:
    """The text of a template without the hashes of its assets."""
    return _HASH.sub(_MASK, template)


def earlier_assembly(assembly: Path, folder: Path) -> Path:
    """
    Copy the assembly of `lifecycle_app` to `folder`, with the earlier templates of its stacks; returns `folder`.

    A stack that has none is as it is now.
    """
    shutil.copytree(assembly, folder)
    manifest = json.loads((folder / f"assembly-{NAME}" / "manifest.json").read_text())
    stacks = [
        artifact["properties"]
        for artifact in manifest["artifacts"].values()
        if "templateFile" in artifact.get("properties", {})
        and (EARLIER / f"{artifact['properties']['stackName']}.template.json").exists()
    ]
    for stack in stacks:
        file = folder / f"assembly-{NAME}" / stack["templateFile"]
        stack_name = stack["stackName"]
        now = file.read_text()
        earlier = _with_assets(
            json.loads((EARLIER / f"{stack_name}.template.json").read_text()), json.loads(now), _assets(now)
        )
        text = json.dumps(earlier)
        file.write_text(text)
        # The CLI uploads a template under its hash, and nothing that is there already.
        _replace_in_manifests(file, _sha256(now), _sha256(text))
    return folder


def _assets(text: str) -> dict[str, str]:
    """One hash of today's for each kind of asset, by what follows it."""
    return {ending: hash_ for hash_, ending in re.findall(rf"({_HASH.pattern})(\.[a-z]+|)", text)}


def _with_assets(earlier: Any, now: Any, assets: dict[str, str]) -> Any:  # noqa: ANN401 - JSON
    """`earlier` with the hashes that stand at the same places `now`, or any of the same kind where there is none."""
    if isinstance(earlier, dict):
        return {
            key: _with_assets(value, now.get(key) if isinstance(now, dict) else None, assets)
            for key, value in earlier.items()
        }
    if isinstance(earlier, list):
        same = now if isinstance(now, list) and len(now) == len(earlier) else [None] * len(earlier)
        return [_with_assets(value, beside, assets) for value, beside in zip(earlier, same, strict=True)]
    if not isinstance(earlier, str) or _MASK not in earlier:
        return earlier
    if isinstance(now, str) and masked(now) == earlier:
        return now
    return re.sub(rf"{_MASK}(\.[a-z]+|)", lambda found: f"{assets[found[1]]}{found[1]}", earlier)


def _replace_in_manifests(template: Path, before: str, after: str) -> None:
    manifests = [template.parent / "manifest.json", *template.parent.glob("*.assets.json")]
    for manifest in manifests:
        manifest.write_text(manifest.read_text().replace(before, after))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
