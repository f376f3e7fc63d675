"""
dbt's own macros, compiled once, while the image is built: `python -m runner.templates`.

A run uses some 300 of them, and dbt has Jinja compile each one anew in every process. What is kept here is looked up by the
macro's whole text; a macro that is not found, such as one of the project, is compiled as ever.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Iterator
from pathlib import Path

from runner.dbt_types import DbtObject

TEMPLATES_FILE = Path(__file__).parent / "templates.marshal"
"""Lies beside the code that reads it, in the layer of the Python and the dbt that have made it."""

_BLOCKS = {"macro", "materialization", "test", "data_test"}


def compile_macros(file: Path = TEMPLATES_FILE) -> int:
    """Compile the macros of dbt and of its adapters into `file`; returns how many there are."""
    from dbt_common.clients.jinja import get_environment  # noqa: PLC0415 - of dbt, which is imported late

    environment = get_environment()
    compiled = {text_key(text): marshal.dumps(environment.compile(text)) for text in _macros()}
    file.write_bytes(marshal.dumps(compiled))
    return len(compiled)


def use_compiled_macros(file: Path = TEMPLATES_FILE) -> None:
    """Let Jinja take what is in `file`, if it exists, for the text that it would compile."""
    import jinja2  # noqa: PLC0415 - see above
    from dbt_common.clients.jinja import MACRO_DEBUGGING, MacroFuzzEnvironment  # noqa: PLC0415 - see above

    if MACRO_DEBUGGING or not file.exists():
        return
    compiled: dict[bytes, bytes] = marshal.loads(file.read_bytes())  # noqa: S302 - made while the image was built
    compile_anew = MacroFuzzEnvironment.compile

    def compile_or_take(
        environment: DbtObject, source: DbtObject, *arguments: DbtObject, **options: DbtObject
    ) -> DbtObject:
        # Other environments of dbt's make other code, or have other undefined names.
        is_plain = type(environment) is MacroFuzzEnvironment and environment.undefined is jinja2.Undefined
        found = compiled.get(text_key(source)) if is_plain and not arguments and not options else None
        if found is None:
            return compile_anew(environment, source, *arguments, **options)
        return marshal.loads(found)  # noqa: S302 - see above

    MacroFuzzEnvironment.compile = compile_or_take  # type: ignore[method-assign, assignment]


def _macros() -> Iterator[str]:
    """Yield the text of each macro and each generic test, cut out as dbt's own parsers do it."""
    from dbt.include import global_project, postgres, redshift  # noqa: PLC0415 - see above
    from dbt_common.clients.jinja import extract_toplevel_blocks  # noqa: PLC0415 - see above

    for package in (global_project, postgres, redshift):
        for path in sorted(Path(package.PACKAGE_PATH).rglob("*.sql")):
            for block in extract_toplevel_blocks(
                path.read_bytes().decode().strip(), allowed_blocks=_BLOCKS, collect_raw_data=False
            ):
                yield block.full_block or ""


def text_key(text: str) -> bytes:
    """Return what a text that was compiled while the image was built is looked up by."""
    return hashlib.sha256(text.encode()).digest()


if __name__ == "__main__":
    compile_macros()
