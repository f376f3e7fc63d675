"""`make new-project NAME=…`: a dbt project of one model that passes every check, to be filled."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from constructs_lib.repository import REPOSITORY

_NAME = re.compile(r"(?=.{1,41}$)[a-z][a-z0-9]*(_[a-z0-9]+)*")


class NewProjectError(Exception):
    """Nothing was written; the message says why and what is allowed."""


def new_project(name: str, projects: Path) -> Path:
    """Write a project called `name` below `projects` and return its folder; raises NewProjectError for a name that cannot be."""
    if not _NAME.fullmatch(name):
        raise NewProjectError(
            "NAME must be 1 to 41 lower-case letters, digits or single '_' between them, beginning with a letter, "
            f"got {name!r}"
        )
    folder = projects / name
    if folder.exists():
        raise NewProjectError(f"{folder} is there already")
    for path, text in _files(name).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def _files(name: str) -> Mapping[str, str]:
    return {
        "dbt_project.yml": f"""name: {name}
version: 1.0.0
config-version: 2
require-dbt-version: [">=1.10.0", "<2.0.0"]

profile: {name}

model-paths: [models]
clean-targets: [target, logs]

models:
  {name}:
    +persist_docs: {{relation: true, columns: true}}
    marts:
      +materialized: table
""",
        "models/marts/dim_day_kinds.sql": """with weekdays as (
    select
        1 as day_kind_id,
        'weekday' as day_kind
),

weekends as (
    select
        2 as day_kind_id,
        'weekend' as day_kind
)

select * from weekdays
union all
select * from weekends
""",
        "models/marts/_marts.yml": """version: 2

models:
  - name: dim_day_kinds
    description: One row for each kind of day; an example to replace.
    columns:
      - name: day_kind_id
        description: Key of the kind.
        data_tests: [unique, not_null]
      - name: day_kind
        description: What people call it.
        data_tests:
          - accepted_values:
              arguments: {values: [weekday, weekend]}
""",
        ".sqlfluffignore": "dbt_packages/\ntarget/\nlogs/\n",
        "README.md": f"""# {name}

What this project is for, and whom to ask.

`make dbt PROJECT={name} ARGS=build OFFLINE=1` builds it on this machine without an account: [the analyst's day](../../docs/analyst.md).
""",
    }


def settings_line(name: str) -> str:
    """What `projects` of an environment in stacks/environments.py gets, in one line."""
    return f'DbtProject(name="{name}", path=Path("projects/{name}"), credentials=GlueConnection("warehouse"), schema="{name}"),'


def main(arguments: Sequence[str], *, projects: Path = REPOSITORY / "projects") -> int:
    """Write the project that is named and say what is to be done next; returns the exit code."""
    (name,) = arguments
    try:
        folder = new_project(name, projects)
    except NewProjectError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{folder} is a project of one model. To deploy it, add this line to projects of an environment in")
    print("stacks/environments.py, with the credentials and the schema that are yours:\n")
    print(f"    {settings_line(name)}\n")
    print("make snapshots then writes its template for review.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
