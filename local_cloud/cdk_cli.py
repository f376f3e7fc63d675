"""The real CDK CLI, run against the emulator."""

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

REPOSITORY_ROOT = Path(__file__).resolve().parent.parent

# "local/Platform | 12/31 | 3:04:05 PM | CREATE_COMPLETE | AWS::EC2::Subnet | …", as the CLI prints without a terminal.
_EVENT = re.compile(r"^(?P<stack>\S+) \|\s*(?P<done>\d+)(?:/(?P<of>\d+))? \|[^|]*\| (?P<status>\w+)\s*\| (?P<type>\S+)")
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class CdkError(RuntimeError):
    """The CLI exited with an error; the message ends with its last lines."""


class CdkCli:
    """
    Runs `cdk` for one app.

    `environment` must be all that the CLI and the app get; `app` is the command that synthesizes.
    """

    def __init__(self, *, app: Sequence[str], environment: Mapping[str, str], output: Path, log_file: Path) -> None:
        self._app = " ".join(app)
        self._environment = dict(environment)
        self._output = output
        self._log_file = log_file

    def bootstrap(self, account: str, region: str, say: Callable[[str], None] = lambda _: None) -> None:
        """Prepare an account for deployments; needs no app, and so does not synthesize one."""
        self._run(["bootstrap", f"aws://{account}/{region}"], folder=Path(self._environment["HOME"]), say=say)

    def run(self, *arguments: str, say: Callable[[str], None] = lambda _: None) -> str:
        """
        Run `cdk <arguments>` and return what it printed; `say` gets short words on what it is doing.

        Raises CdkError when it exits with an error.
        """
        for_app = ["--app", self._app, "--output", str(self._output), "--progress", "events"]
        return self._run([*for_app, *arguments], folder=REPOSITORY_ROOT, say=say)

    def _run(self, arguments: Sequence[str], *, folder: Path, say: Callable[[str], None]) -> str:
        command = [str(REPOSITORY_ROOT / "node_modules/.bin/cdk"), "--ci", "--no-color", "--no-notices", *arguments]
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        lines: list[str] = []
        with (
            self._log_file.open("a") as log,
            subprocess.Popen(
                command,
                cwd=folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                # Ctrl-C is for the program that ends everything in order, which ends this too.
                start_new_session=True,
            ) as process,
        ):
            log.write(f"\n$ cdk {' '.join(arguments)}\n")
            try:
                for line in process.stdout or ():
                    log.write(line)
                    log.flush()
                    lines.append(line.rstrip("\n"))
                    if said := _in_short(line):
                        say(said)
            except BaseException:
                process.terminate()
                raise
        if process.returncode != 0:
            tail = "\n".join(lines[-40:])
            raise CdkError(
                f"cdk {arguments[0]} exited with {process.returncode} (whole output: {self._log_file}):\n{tail}"
            )
        return "\n".join(lines)


def _in_short(line: str) -> str | None:
    text = _CONTROL.sub("", line).strip()
    if event := _EVENT.match(text):
        return f"{event['stack']} {event['done']}{'/' + event['of'] if event['of'] else ''} {event['type']}"
    if re.match(r"^(#\d+ |STEP \d+/\d+|\[\d+/\d+\])", text):
        return f"image: {text}"
    return None
