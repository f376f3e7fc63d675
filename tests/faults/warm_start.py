"""
Starts runners with dbt imported already: three seconds of CPU less for each.

It is a process that has imported dbt as the runner does and forks for each line on stdin, a JSON object with `environment`,
`folder` and `log`. It answers with a line that holds the process id, and, when that process has ended, with one that holds its
exit code (negative for a signal). The fork is the leader of a session of its own and does all that `python -m runner` does.
"""

import json
import os
import sys

from runner import dbt_session
from runner.__main__ import main
from runner.endings import leave


def _become_a_runner(request: dict[str, object]) -> None:
    os.setsid()
    log = os.open(str(request["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(str(request["folder"]))
    os.environ.clear()
    environment = request["environment"]
    assert isinstance(environment, dict)
    os.environ.update(environment)
    leave(main([]))


def serve() -> None:
    """Fork for each line until stdin ends."""
    import runner.run  # noqa: F401, PLC0415 - only loaded, so that forks need not

    dbt_session.load()
    print("ready", flush=True)
    # Not `for line in sys.stdin`: what it reads ahead would be in the fork too.
    while line := sys.stdin.readline():
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become_a_runner(request)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
