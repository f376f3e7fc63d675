"""`python -m local_cloud demo|prepare|venv|browser|stop|clean`: what the Makefile calls."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from local_cloud.airflow import AirflowApiError, AirflowNotHealthyError
from local_cloud.base_image import BaseImageError
from local_cloud.browser import NoBrowserError, ensure_browser
from local_cloud.cdk_cli import CdkError
from local_cloud.cloud import VENVS, LocalCloud
from local_cloud.container_engine import ContainerEngineError
from local_cloud.demo import run_demo
from local_cloud.local_settings import WrongSettingsError
from local_cloud.processes import ProcessDiedError
from local_cloud.progress import Steps

_EXIT_INTERRUPTED = 130
_TOLD_IN_A_LINE = (
    AirflowApiError,
    AirflowNotHealthyError,
    BaseImageError,
    CdkError,
    ContainerEngineError,
    FileNotFoundError,
    NoBrowserError,
    ProcessDiedError,
    WrongSettingsError,
)


def main() -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="local_cloud", description="All of AWS that is needed, on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="deploy a dbt project, let Airflow run it, show what came of it")
    demo.add_argument("--project", type=Path, help="path of a dbt project; default: the sample")
    demo.add_argument("--raw-sql", type=Path, help="SQL that creates the tables which the project's sources name")
    demo.add_argument("--keep", action="store_true", help="leave everything running")
    commands.add_parser("prepare", help="install what the local cloud is made of")
    venv = commands.add_parser("venv", help="install one of its Python environments")
    venv.add_argument("name", choices=VENVS)
    commands.add_parser("browser", help="install a browser where there is none")
    commands.add_parser("stop", help="end everything that is running")
    commands.add_parser("clean", help="end everything and delete what was installed")
    arguments = parser.parse_args()

    # A closed terminal and `kill` end the demo as Ctrl-C does: in order.
    for signal_ in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_, _interrupt)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing is left running\n")
        return _EXIT_INTERRUPTED
    except _TOLD_IN_A_LINE as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "demo":
        return run_demo(project_path=arguments.project, raw_sql=arguments.raw_sql, keep=arguments.keep)
    with Steps() as steps:
        cloud = LocalCloud(steps=steps)
        match arguments.command:
            case "prepare":
                cloud.prepare()
            case "venv":
                cloud.install_venv(arguments.name)
            case "browser":
                with steps.step("Find a browser") as step:
                    ensure_browser(step.say)
            case "stop":
                with steps.step("Stop the local cloud"):
                    cloud.stop()
            case "clean":
                with steps.step("Delete the local cloud"):
                    cloud.delete()
    return 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
