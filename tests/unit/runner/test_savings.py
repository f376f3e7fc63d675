"""What is left out of dbt's work, and that nothing else is."""

import os
import subprocess
import sys

import pytest
from dbt_common.events.base_types import EventLevel
from dbt_common.events.event_manager import EventManager
from dbt_common.events.types import Formatting, Note

from runner import dbt_session
from tests.unit.runner.support import REPOSITORY


@pytest.fixture(autouse=True)
def loaded() -> None:
    """The dbt that the runner has."""
    dbt_session.load()


@pytest.mark.parametrize(
    ("level", "told"),
    [
        (EventLevel.DEBUG, []),
        (EventLevel.TEST, []),
        (EventLevel.INFO, ["said"]),
        (EventLevel.WARN, ["said"]),
        (EventLevel.ERROR, ["said"]),
    ],
)
def test_events_from_information_upwards_reach_the_log(level: EventLevel, told: list[str]) -> None:
    """The log loses no line of dbt's that it would show."""
    manager = EventManager()
    heard: list[str] = []
    manager.add_callback(lambda event: heard.append(event.info.msg))  # type: ignore[attr-defined] # dbt's type lacks it
    manager.fire_event(Note(msg="said"), level=level)
    assert told == heard


def test_an_event_has_its_fields_whenever_they_are_asked_for() -> None:
    """Fields can be read, written and read again, as if the message had been made at once."""
    event = Note(msg="first")
    assert event.msg == "first"
    event.msg = "second"
    assert event.pb_msg.msg == "second"
    assert event.message() == "second"


def test_an_event_of_one_text_takes_it_by_position() -> None:
    """Of all events, dbt writes Formatting("text"), which only its constructor understands."""
    assert Formatting("a line").message() == "a line"


def test_no_connection_looks_through_the_call_stack() -> None:
    """The driver is given a name for each connection, so that it does not search one."""
    code = (
        "import inspect, socket\n"
        "from runner import dbt_session\n"
        "dbt_session.load()\n"
        "import redshift_connector\n"
        "def refuse(*_):\n"
        "    raise SystemExit('the call stack was searched')\n"
        "inspect.stack = refuse\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "port = listener.getsockname()[1]\n"
        "listener.close()\n"
        "try:\n"
        "    redshift_connector.connect(host='127.0.0.1', port=port, user='u', password='p', database='d', ssl=False)\n"
        "except redshift_connector.InterfaceError:\n"
        "    print('refused by the closed port')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.defpath, "PYTHONPATH": str(REPOSITORY / "container")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "refused by the closed port\n"), done.stderr
