"""Runs CloudFront's function in Node, with the two modules that CloudFront gives it."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from constructs_lib.edge_function import edge_function_code
from constructs_lib.pages_access import PagesHosting

HERE = Path(__file__).parent
NODE = Path(sys.prefix) / "bin" / "node"
HOST = "d111111abcdef8.cloudfront.net"
_STORE = """export default { kvs: () => ({ get: async (name) => {
  if (!(name in globalThis.keys)) throw new Error("KeyNotFound");
  return globalThis.keys[name];
} }) };
"""


def write_edge_function(folder: Path, hosting: PagesHosting) -> Path:
    """Write the function of `hosting` as a module that Node can load."""
    store = folder / "node_modules" / "cloudfront"
    store.mkdir(parents=True)
    (store / "package.json").write_text('{"name": "cloudfront", "type": "module", "exports": "./index.js"}')
    (store / "index.js").write_text(_STORE)
    code = edge_function_code(
        networks=hosting.parsed_networks(),
        signs_in=hosting.sign_in is not None,
        domain_name=hosting.domain_name,
        first_page="/_pages/index.html",
    )
    path = folder / "edge.mjs"
    path.write_text(f"{code}\nexport {{ handler }};\n")
    return path


class Edge:
    """CloudFront's function, at work."""

    def __init__(self, folder: Path, hosting: PagesHosting) -> None:
        folder.mkdir()
        code = write_edge_function(folder, hosting)
        self._process = subprocess.Popen(
            [NODE, HERE / "edge_driver.mjs", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.keys: dict[str, str] = {}

    def __enter__(self) -> Self:
        """The function, loaded."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End Node; it must have had no error."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(timeout=10) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()

    def ask(
        self,
        uri: str = "/_pages/index.html",
        *,
        method: str = "GET",
        ip: str = "198.51.100.7",
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        querystring: Mapping[str, Sequence[str]] | None = None,
    ) -> dict[str, Any]:
        """What the function answers to a viewer's request: a request that goes on, or a response with `statusCode`."""
        parameters = {
            name: {"value": values[0], **({"multiValue": [{"value": value} for value in values]} if values[1:] else {})}
            for name, values in (querystring or {}).items()
        }
        event = {
            "version": "1.0",
            "context": {"distributionDomainName": HOST, "eventType": "viewer-request"},
            "viewer": {"ip": ip},
            "request": {
                "method": method,
                "uri": uri,
                "querystring": parameters,
                "headers": {name: {"value": value} for name, value in {"host": HOST, **(headers or {})}.items()},
                "cookies": {name: {"value": value} for name, value in (cookies or {}).items()},
            },
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"event": event, "keys": self.keys}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer
