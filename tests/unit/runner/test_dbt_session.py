"""The real dbt in this process: what it would run, and what is left out because it is done."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from dbt.adapters.factory import FACTORY

from runner import dbt_session
from runner.dbt_session import DbtSession, ParseError, _done_and_closed, _watching
from runner.events import EventReader
from runner.nodes import PlannedNode
from runner.profile import BUILD_WAREHOUSE, PASSWORD_VARIABLE, profile_environment, write_profile
from runner.run_spec import RunSpec, StepName, run_spec_from
from tests.unit.runner.support import REPOSITORY, make_project

pytestmark = pytest.mark.slow

TEST_TOTAL = "test.shop.total_is_positive"
UNIT_TEST = "unit_test.shop.orders.orders_keep_amounts"


@pytest.fixture(scope="module")
def parsed_once(tmp_path_factory: pytest.TempPathFactory) -> DbtSession:
    """A session on the project, parsed; parsing costs seconds, and planning changes nothing."""
    folder = tmp_path_factory.mktemp("session")
    return parsed(make_project(folder / "project"), folder, RunSpec())


@pytest.fixture
def session(parsed_once: DbtSession) -> DbtSession:
    """The session on the project, in the environment that its profile refers to."""
    os.environ.update(profile_environment(BUILD_WAREHOUSE, environment="dev", schema="analytics"))
    return parsed_once


def parsed(project: Path, scratch: Path, spec: RunSpec) -> DbtSession:
    """A session with `spec`, parsed."""
    os.environ.update(profile_environment(BUILD_WAREHOUSE, environment="dev", schema="analytics"))
    dbt_session.load()
    write_profile(scratch / "profiles", warehouse=BUILD_WAREHOUSE, target="dev")
    made = DbtSession(
        project_folder=project,
        profiles_folder=scratch / "profiles",
        target_folder=scratch / "target",
        target="dev",
        spec=spec,
        on_event=EventReader(),
    )
    made.parse()
    return made


def names(session: DbtSession, step: StepName) -> list[str]:
    """The unique ids of what a step would run, without the hashes of generic tests."""
    return sorted(".".join(node.unique_id.split(".")[:3]) for node in session.plan(step))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (StepName.SEED, ["seed.shop.raw_orders"]),
        (StepName.RUN, ["model.shop.orders", "model.shop.totals"]),
        (StepName.TEST, [TEST_TOTAL, "test.shop.unique_orders_id", "unit_test.shop.orders"]),
        (StepName.SOURCE_FRESHNESS, ["source.shop.raw"]),
        (
            StepName.BUILD,
            [
                "model.shop.orders",
                "model.shop.totals",
                "seed.shop.raw_orders",
                TEST_TOTAL,
                "test.shop.unique_orders_id",
                "unit_test.shop.orders",
            ],
        ),
    ],
)
def test_plans_what_each_command_would_run(session: DbtSession, step: StepName, expected: list[str]) -> None:
    """Chosen by dbt itself; ephemeral models and exposures are never run, so they are not asked for."""
    assert expected == names(session, step)


def test_plans_what_is_selected(project: Path, tmp_path: Path) -> None:
    """Selections, exclusions and dbt's rules for tests hold."""
    spec = run_spec_from(("run", {"select": ["+totals"], "exclude": ["raw_orders"]}))
    session = parsed(project, tmp_path, spec)

    assert names(session, StepName.RUN) == ["model.shop.orders", "model.shop.totals"]


def test_planning_writes_no_artifact(session: DbtSession) -> None:
    """What a step has left in the target folder stays its own."""
    session.plan(StepName.BUILD)

    assert not {"manifest.json", "run_results.json"} & {path.name for path in session.target_folder.iterdir()}


def test_tells_which_model_a_test_belongs_to(session: DbtSession) -> None:
    """Generic, singular and unit tests show with their model."""
    attached = {node.name: node.attached_node for node in session.plan(StepName.TEST)}

    assert attached == {
        "unique_orders_id": "model.shop.orders",
        "total_is_positive": "model.shop.totals",
        "orders_keep_amounts": "model.shop.orders",
    }


def test_rejects_a_project_that_does_not_parse(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dbt's own words are in the error."""
    (project / "models/broken.sql").write_text("{{ nonsense( }}")

    with pytest.raises(ParseError, match=r"the project does not parse: .*broken"):
        parsed(project, tmp_path, RunSpec())


@pytest.mark.parametrize(
    "password", ["a'b\"c&d$e\nf\\g%h€", "{{ env_var('HOME') }}", "12345", "true", "null", "[1]", " x "]
)
def test_any_password_reaches_the_adapter_unchanged(
    session: DbtSession, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    """Dbt renders the profile with Jinja and YAML; neither may read anything into a password."""
    monkeypatch.setenv(PASSWORD_VARIABLE, password)
    session.manifest = None
    session.parse()

    adapter: Any = FACTORY.lookup_adapter("redshift")
    assert password == adapter.config.credentials.password


def test_the_profile_holds_references_only(tmp_path: Path) -> None:
    """Whoever reads the file learns neither the place nor the user nor the password."""
    write_profile(tmp_path, warehouse=BUILD_WAREHOUSE, target="dev")
    text = (tmp_path / "profiles.yml").read_text()

    assert BUILD_WAREHOUSE.host not in text
    assert f"env_var('{PASSWORD_VARIABLE}')" in text
    assert "sslmode: verify-full" in text


_CHILDREN_AFTER_PARSING = """
import sys
from pathlib import Path
from runner.run_spec import RunSpec
from tests.unit.runner.test_dbt_session import parsed

assert parsed(Path(sys.argv[1]), Path(sys.argv[2]), RunSpec()).manifest is not None
print("children:", *[path.read_text() for path in Path("/proc/self/task").glob("*/children")])
"""


def test_no_second_process_is_started(tmp_path: Path) -> None:
    """A helper process of multiprocessing would inherit the environment, and with it the password."""
    make_project(tmp_path / "project")
    # In a process of its own: other tests of this one may have started helpers for themselves.
    done = subprocess.run(
        [sys.executable, "-c", _CHILDREN_AFTER_PARSING, tmp_path / "project", tmp_path / "scratch"],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'container'}"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )

    assert done.stdout.splitlines()[-1].split() == ["children:"]


# b is built from a, once a's test has passed; e is an ephemeral model, which dbt never executes by itself.
GRAPH: Any = nx.DiGraph(
    [("seed", "a"), ("a", "test_a"), ("test_a", "b"), ("a", "b"), ("b", "e"), ("e", "c"), ("x", "y")]
)
ASKED = {"seed", "a", "test_a", "b", "c", "x", "y"}


@pytest.mark.parametrize(
    ("done", "left_out"),
    [
        (ASKED, ASKED),
        ({"seed", "a"}, {"seed", "a"}),
        # b was built before its parent's test was known; what comes after something that is run again is run again.
        ({"seed", "a", "b", "c"}, {"seed", "a"}),
        ({"seed", "a", "test_a", "c"}, {"seed", "a", "test_a"}),
        ({"a", "test_a", "b", "c", "x"}, {"x"}),
        ({"gone"}, set()),
        (set(), set()),
    ],
)
def test_what_is_done_is_left_out_unless_something_before_it_is_run(done: set[str], left_out: set[str]) -> None:
    """In dbt's own graph, of which tests between models are part, and through ephemeral models."""
    assert left_out == _done_and_closed(GRAPH, asked=ASKED, finished=frozenset(done), tested_models={})


def test_a_unit_test_that_is_not_done_runs_its_model_again() -> None:
    """Dbt runs a unit test only together with its model."""
    assert {"seed", "a", "test_a"} == _done_and_closed(
        GRAPH,
        asked={"seed", "a", "test_a", "b", "c", "unit_b"},
        finished=frozenset({"seed", "a", "test_a", "b", "c"}),
        tested_models={"unit_b": "b"},
    )


class Told:
    """Keeps what the session tells."""

    def __init__(self) -> None:
        self.left_out: frozenset[str] = frozenset()
        self.nodes: set[str] = set()

    def planned(self, nodes: Sequence[PlannedNode], left_out: frozenset[str]) -> None:
        """Keep the plan."""
        self.nodes = {node.unique_id for node in nodes}
        self.left_out = left_out

    def started(self, unique_id: str) -> None:
        """Refuse: there is no warehouse here."""
        raise AssertionError(unique_id)

    def finished(self, result: object) -> None:
        """Refuse: there is no warehouse here."""
        raise AssertionError(result)


def test_a_build_whose_nodes_are_all_done_runs_none_of_them(session: DbtSession) -> None:
    """Ephemeral models and exposures, which are in dbt's selection and never done, make nothing run again."""
    told = Told()
    every = frozenset(node.unique_id for node in session.plan(StepName.BUILD))
    with _watching(told, done=every, execute=False):
        session._invoke([*session._arguments(StepName.BUILD), "--no-write-json"])

    assert (every, every) == (frozenset(told.nodes), told.left_out)
