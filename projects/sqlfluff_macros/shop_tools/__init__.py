"""The macros of the package shop_tools for sqlfluff, which knows dbt's built-in macros but no packages."""

from collections.abc import Callable
from pathlib import Path

import jinja2

_MACROS = Path(__file__).parents[2] / "bookshop" / "packages" / "shop_tools" / "macros"


def _macros() -> dict[str, Callable[..., str]]:
    # Rendered by Jinja alone, as dbt does it: none of these macros needs a database.
    environment = jinja2.Environment(autoescape=False)  # noqa: S701 - the output is SQL
    modules = [environment.from_string(file.read_text()).module for file in sorted(_MACROS.glob("*.sql"))]
    return {
        name: macro
        for module in modules
        for name, macro in vars(module).items()
        if isinstance(macro, jinja2.runtime.Macro)
    }


globals().update(_macros())
