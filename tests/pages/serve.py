"""`python -m tests.pages.serve FOLDER`: the server of `make docs` over a folder instead of a bucket; says its port and serves."""

import mimetypes
import sys
from pathlib import Path

from tools.pages import Found, Read, server


def folder_reader(folder: Path) -> Read:
    """Return a reader of the files in `folder`, by their paths as keys."""

    def read(key: str) -> Found | None:
        path = (folder / key).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            return None
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return Found(body=path.read_bytes(), headers={"Content-Type": kind})

    return read


if __name__ == "__main__":
    served = server(folder_reader(Path(sys.argv[1])), port=0)
    print(served.server_address[1], flush=True)
    served.serve_forever()
