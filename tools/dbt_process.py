"""
dbt in a process of its own, which tools/local_dbt.py starts under the Python that has the project's dbt.

So it imports nothing but dbt and what the image's runner has.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.trial import OutsideError, check_relations

OUTSIDE = 3
"""The exit code where a node would be built outside; nothing has been touched then. The others are dbt's."""


def main(order: Mapping[str, Any]) -> int:
    """
    Parse, check that every node is inside of the schema, and run the command on that very manifest.

    `order`: `arguments`, `place` (options that name project, profile and target), `schema` (null: run without a manifest),
    `database`, `variables` (for the parse) and `manifest_file` (null, or where the manifest is to be written).
    """
    from dbt.cli.main import dbtRunner  # noqa: PLC0415 - what is wrong with the order need not wait for it
    from dbt.contracts.graph.manifest import Manifest  # noqa: PLC0415 - as above

    options = ["--no-send-anonymous-usage-stats", "--no-version-check"]
    manifest: Manifest | None = None
    if order["schema"] is not None:
        parsed = dbtRunner().invoke([*options, "--quiet", "parse", *order["variables"], *order["place"]])
        if not isinstance(parsed.result, Manifest):
            print(f"error: the project does not parse: {parsed.exception}", file=sys.stderr)
            return 2
        manifest = parsed.result
        try:
            check_relations(manifest, schema=order["schema"], database=order["database"])
        except OutsideError as error:
            print(f"error: {error}", file=sys.stderr)
            return OUTSIDE
        if order["manifest_file"] is not None:
            content = json.dumps(manifest.writable_manifest().to_dict(), default=str)
            Path(order["manifest_file"]).write_text(content, encoding="utf-8")
    done = dbtRunner(manifest=manifest).invoke([*options, *order["arguments"], *order["place"]])
    if done.success:
        return 0
    if done.exception is None:
        return 1
    print(f"error: {done.exception}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main(json.loads(sys.argv[1])))
