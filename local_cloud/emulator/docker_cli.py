"""
What CDK_DOCKER points to: Docker's command line, with the emulator as the registry.

The CDK CLI calls `login`, `inspect`, `build`, `tag` and `push` with the name that the image will have in ECR. Builds and tags
go to the container engine as they are; a push goes into the emulator's registry on loopback, and a pull comes out of it.
"""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from local_cloud.container_engine import ContainerEngine

SETTINGS_VARIABLE = "LOCAL_CLOUD_DOCKER_CLI"
"""Names the JSON file with "engine_folder", "registry" and "password_file"."""


def main(arguments: Sequence[str]) -> None:
    """Do one command, or become the engine's own program for it."""
    settings = json.loads(Path(os.environ[SETTINGS_VARIABLE]).read_text())
    password_file = Path(settings["password_file"])
    command = arguments[0] if arguments else "help"
    if command == "login":
        _keep_password(password_file, sys.stdin.read().rstrip("\r\n"))
    elif command == "logout":
        password_file.unlink(missing_ok=True)
    else:
        engine = ContainerEngine.detect(Path(settings["engine_folder"]))
        if command in {"push", "pull"}:
            reference = arguments[-1]
            target = f"{settings['registry']}/{reference.partition('/')[2]}"
            login = {"user": "AWS", "password": password_file.read_text()}
            if command == "push":
                engine.push(reference, target, **login)
            else:
                engine.pull(target, reference, **login)
        else:
            options = engine.build_options if command == "build" else ()
            program = [engine.executable, command, *options, *arguments[1:]]
            os.execvpe(program[0], program, {**os.environ, **engine.environment})  # noqa: S606 -- a list, no shell


def _keep_password(file: Path, password: str) -> None:
    # Readable for its owner alone from the first moment on, and never half written: the CLI may log in twice at once.
    handle, temporary = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "w") as opened:
        opened.write(password)
    Path(temporary).replace(file)


if __name__ == "__main__":
    main(sys.argv[1:])
