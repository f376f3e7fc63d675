"""
sqlfluff's command line, whose dbt templater compiles models without a warehouse.

The templater asks the warehouse which relations there are before it compiles the first model. Here there are none: each schema of
the project counts as known and empty, so that dbt compiles what it would compile for a first build.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dbt.adapters.factory import get_adapter
from dbt.context.providers import generate_runtime_macro_context
from sqlfluff.cli.commands import cli
from sqlfluff_templater_dbt.templater import DbtTemplater  # type: ignore[import-untyped] # it publishes none


@contextmanager
def _connection(self: DbtTemplater) -> Iterator[None]:
    # As DbtTemplater.connection of 4.4.0, but for the last line.
    adapter = self.adapters.get(self.project_dir)
    if adapter is None:
        adapter = get_adapter(self.dbt_config)
        self.adapters[self.project_dir] = adapter
        adapter.acquire_connection("master")
        adapter.set_macro_resolver(self.dbt_manifest)
        adapter.set_macro_context_generator(generate_runtime_macro_context)
        adapter.cache.update_schemas({(node.database, node.schema) for node in self.dbt_manifest.nodes.values()})
    yield


if __name__ == "__main__":
    DbtTemplater.connection = _connection
    cli(sys.argv[1:])
