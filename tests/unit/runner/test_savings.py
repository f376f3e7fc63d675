"""What is left out of dbt's work, and that nothing else is."""

import json
import os
import subprocess
import sys
from datetime import date

import pytest
import sqlparse
from dbt_common.clients.agate_helper import build_type_tester
from dbt_common.events.base_types import EventLevel
from dbt_common.events.event_manager import EventManager
from dbt_common.events.types import Formatting, Note

from runner import dbt_session, savings
from runner.known_code import OtherCodeError, require_known
from tests.unit.runner.support import REPOSITORY

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def loaded() -> None:
    """The dbt that the runner has."""
    dbt_session.load()


def test_every_saving_is_made_with_the_versions_of_the_image() -> None:
    """A newer version whose code is another one shows here, and not as a run that is slow again."""
    assert savings.apply() == ()
    assert savings.fits(savings.compile_classes_when_they_are_used)


def test_a_saving_that_was_made_for_other_code_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """A project may pin versions in which the code is another one; the run's log says what is left out, and nothing is changed."""

    def _made_for_other_code() -> None:
        require_known("0" * 64, EventManager.fire_event)

    def _made_for_code_that_is_gone() -> None:
        sqlparse.gone()  # type: ignore[attr-defined] # that is the point

    with caplog.at_level("INFO", logger="runner"):
        left_out = [not savings.fits(saving) for saving in (_made_for_other_code, _made_for_code_that_is_gone)]

    assert left_out == [True, True]
    assert [record.saving for record in caplog.records] == ["made_for_other_code", "made_for_code_that_is_gone"]  # type: ignore[attr-defined] # an extra


def test_code_without_a_source_is_not_known() -> None:
    """Where nobody can tell what the code is, nothing is changed."""
    with pytest.raises(OtherCodeError, match="len has no source"):
        require_known("0" * 64, len)


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


_AS_DBT_DOES_IT = """
import dataclasses, json, sys
if sys.argv[1:] == ["saving"]:
    from runner import dbt_session
    dbt_session.load()
import sqlparse
from dbt.clients.jinja import MacroGenerator, MacroStack
from dbt.contracts.graph.nodes import Macro
from dbt.context import macros
from dbt.contracts.project import Project
from dbt.exceptions import DuplicateMacroNameError
from dbt.node_types import NodeType
from mashumaro.config import BaseConfig


def macro(package, name):
    fields = {"name": name, "macro_sql": "", "original_file_path": "m.sql", "path": "m.sql", "package_name": package}
    return Macro(**fields, resource_type="macro", unique_id=f"macro.{package}.{name}")


def told(namespace, name, package=None):
    found = namespace.get_from_package(package, name)
    return found and [found.macro.unique_id, found.context, found.node, type(found.stack).__name__]


packages = {
    "dbt": {name: macro("dbt", name) for name in ("everywhere", "in_dbt", "in_both")},
    "dbt_redshift": {name: macro("dbt_redshift", name) for name in ("everywhere", "in_both")},
    "shop": {name: macro("shop", name) for name in ("everywhere", "in_shop")},
    "vendored": {name: macro("vendored", name) for name in ("everywhere", "in_vendored", "other")},
    "other": {name: macro("other", name) for name in ("everywhere", "in_other")},
}
result = {}
for package in ("shop", "vendored"):
    builder = macros.MacroNamespaceBuilder("shop", package, MacroStack(), ["dbt_redshift", "dbt"], "the node")
    namespace = builder.build_namespace(packages, {"a": "context"})
    flat = {}
    flat.update(namespace)
    for name, member in flat.items():
        result[f"{package} {name}"] = (
            member.macro.unique_id
            if isinstance(member, MacroGenerator)
            else {key: value.macro.unique_id for key, value in member.items()}
        )
    result[f"{package} length"] = len(namespace)
    result[f"{package} asked"] = [
        told(namespace, "everywhere"),
        told(namespace, "everywhere", "dbt"),
        told(namespace, "everywhere", "other"),
        told(namespace, "nowhere"),
        "nowhere" in namespace,
    ]
builder = macros.MacroNamespaceBuilder("shop", "shop", MacroStack(), ["dbt"], None)
try:
    builder.add_macros([macro("shop", "twice"), macro("shop", "twice")], {})
except DuplicateMacroNameError as error:
    result["twice"] = str(error)
statements = [
    "select 1", "select 1;", " select 1 ;\\n\\n", "select 1; select 2", "select ';'", "select 1 -- ; not the end", "", "  ", ";",
    "begin", "-- only words", "/* a */ select 1; -- after", "create procedure p() as $$ begin select 1; end $$;", "select 1\\nGO\\nselect 2",
    "select (1;", ";select 1", "select 1;;", "select\\u00a01;\\u00a0", "begin; select 1; commit", "select $$;$$", "select 'a;b' as x;",
]
result["split"] = {statement: sqlparse.split(statement) for statement in statements}
result["kept semicolon"] = [sqlparse.split("select 1;", strip_semicolon=strip) for strip in (False, True)]
result["schema"] = Project.json_schema()
written = dataclasses.replace(macro("shop", "kept"), resource_type=NodeType.Macro)
for omit in (False, True):
    fields = written.to_dict(omit_none=omit)
    read = Macro.from_dict(fields)
    result[f"fields without null: {omit}"] = [{**fields, "created_at": None}, read == written, type(read).__name__]
result["packed"] = [Macro.from_msgpack(written.to_msgpack()) == written, len(written.to_msgpack())]
result["lazy"] = BaseConfig.lazy_compilation
print(json.dumps(result, sort_keys=True))
"""


def told_by(code: str, *arguments: str) -> str:
    """What a Python process of its own, whose dbt nobody has changed yet, prints last."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={"PATH": os.defpath, "PYTHONPATH": str(REPOSITORY / "container")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_macros_statements_and_schemas_are_those_of_dbt_itself() -> None:
    """Which macro a name means in each package, errors, where a statement ends: the same with the savings as without."""
    without = json.loads(told_by(_AS_DBT_DOES_IT))
    assert without["shop everywhere"] == "macro.shop.everywhere"
    assert without["split"]["select 1; select 2"] == ["select 1;", "select 2"]
    # Classes are compiled at their first use now; were the option gone, this would not be False before.
    assert without.pop("lazy") is False
    with_savings = json.loads(told_by(_AS_DBT_DOES_IT, "saving"))
    assert with_savings.pop("lazy") is True
    assert without == with_savings


def test_importing_dbt_compiles_no_serializer() -> None:
    """They are hundreds; dbt reads its own version while it is imported, and no more."""
    code = (
        "from mashumaro.core.meta.code.builder import CodeBuilder\n"
        "compiled, compile = [], CodeBuilder.compile\n"
        "CodeBuilder.compile = lambda builder: (compiled.append(builder.cls), compile(builder))\n"
        "from runner import dbt_session\n"
        "dbt_session.load()\n"
        "imported = [each.__name__ for each in compiled]\n"
        "from dbt.contracts.graph.nodes import Macro\n"
        "Macro.from_dict({'name': 'm', 'macro_sql': '', 'original_file_path': '', 'path': '', 'package_name': 'shop',"
        " 'resource_type': 'macro', 'unique_id': 'macro.shop.m'})\n"
        "print(imported, Macro in compiled)\n"
    )
    assert told_by(code) == "['VersionSpecifier'] True"


def test_a_single_statement_is_not_taken_to_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter asks for the statements of every query, and nearly all of them are one."""
    monkeypatch.setattr("sqlparse.engine.FilterStack.run", None)
    assert sqlparse.split("create table a as (\n select 1\n);\n") == ["create table a as (\n select 1\n);"]


def test_parsers_of_dates_share_their_words() -> None:
    """Two tables of answers make no second set of words, and read dates as ever."""
    types = [build_type_tester(()).run([["2026-11-22"], ["2026-11-23"]], ["day"])[0] for _ in range(2)]
    assert types[0]._constants is types[1]._constants
    assert [kind.cast("2026-11-22") for kind in types] == [date(2026, 11, 22)] * 2
