"""The run spec and its layers."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.outcome import SettingsError
from runner.run_spec import Policy, RunSpec, StepName, run_spec_from
from tests.unit.runner.support import validator

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"step": []}, "unknown field 'step' in the layer, allowed are"),
    ({"steps": []}, "steps of the layer must be a list of steps that is not empty, got []"),
    ({"steps": ["deploy"]}, "must be one of ['source_freshness', 'seed'"),
    ({"steps": [{"name": "build", "colour": 1}]}, "unknown field 'colour' in steps of the layer"),
    ({"steps": [{"name": "build", "policy": "maybe"}]}, "must be one of ['must_pass', 'report_only'], got 'maybe'"),
    ({"select": "orders"}, "select of the layer must be a list of texts, got 'orders'"),
    ({"select": ["--profiles-dir"]}, "got '--profiles-dir' which looks like an option"),
    ({"exclude": [1]}, "exclude of the layer must be a list of texts"),
    ({"selector": "-x"}, "selector of the layer must be a text that does not begin with '-'"),
    ({"vars": []}, "vars of the layer must be an object, got []"),
    ({"full_refresh": "yes"}, "full_refresh of the layer must be true or false, got 'yes'"),
    ({"threads": 0}, "threads of the layer must be a whole number 1..64, got 0"),
    ({"threads": True}, "threads of the layer must be a whole number 1..64, got True"),
    ({"deadline_seconds": 5}, "deadline_seconds of the layer must be a whole number 10..604800, got 5"),
    ({"defer_state": "/tmp/state"}, "defer_state of the layer must be s3://bucket/prefix"),  # noqa: S108 - no file
    ({"start_over": 1}, "start_over of the layer must be true or false, got 1"),
    ({"trial": "pr_1"}, "trial of the layer must be an object, got 'pr_1'"),
    ({"trial": {}}, "a suffix in trial of the layer must be pr_ and a number, got None"),
    ({"trial": {"schema_suffix": "live"}}, "a suffix in trial of the layer must be pr_ and a number, got 'live'"),
    ({"trial": {"schema_suffix": "pr_1", "drop": ["marts"]}}, "must be pr_ and a number, got 'marts'"),
    ({"trial": {"schema_suffix": "pr_1", "drop": ""}}, "drop in trial of the layer must be a list, got ''"),
    ({"trial": {"schema_suffix": "pr_1", "project_archive": "/tmp/a"}}, "must be s3://bucket/….tar.gz, got '/tmp/a'"),  # noqa: S108 - no file
    ({"trial": {"schema_suffix": "pr_1", "schema": "live"}}, "unknown field 'schema' in trial of the layer"),
]


def test_default_steps_report_freshness_and_docs_and_require_the_build() -> None:
    """The image's defaults: stale sources and failing docs never turn a good run red."""
    steps = [(step.name, step.policy) for step in RunSpec().steps]

    assert steps == [
        (StepName.SOURCE_FRESHNESS, Policy.REPORT_ONLY),
        (StepName.BUILD, Policy.MUST_PASS),
        (StepName.DOCS, Policy.REPORT_ONLY),
    ]


def test_later_layers_win_field_by_field() -> None:
    """What a run says about one field leaves the deployment's other fields as they are."""
    spec = run_spec_from(
        ("the deployment", {"threads": 8, "vars": {"a": 1}}), ("the run", {"vars": {"b": 2}, "select": ["x"]})
    )

    assert (spec.threads, spec.vars, spec.select) == (8, {"b": 2}, ("x",))


def test_null_resets_a_field_to_the_default_of_the_image() -> None:
    """A run can undo what its deployment says."""
    spec = run_spec_from(("the deployment", {"threads": 8}), ("the run", {"threads": None}))

    assert spec.threads == RunSpec().threads


def test_a_step_may_be_just_its_name() -> None:
    """The policy of a step depends on the step unless it is given."""
    spec = run_spec_from(("the run", {"steps": ["run", "test", "docs"]}))

    assert [step.policy for step in spec.steps] == [Policy.MUST_PASS, Policy.MUST_PASS, Policy.REPORT_ONLY]


def test_the_effective_spec_is_a_spec_again() -> None:
    """What start.json shows can be given to a further run."""
    spec = run_spec_from(("the run", {"steps": ["seed", "run"], "exclude": ["tag:slow"], "deadline_seconds": 60}))

    assert spec == run_spec_from(("start.json", spec.as_json()))


@pytest.mark.parametrize(("fields", "words"), WRONG)
def test_rejects_wrong_fields_by_name(fields: dict[str, Any], words: str) -> None:
    """The message names the layer, the field, the value got and what is allowed."""
    with pytest.raises(SettingsError) as raised:
        run_spec_from(("the layer", fields))

    assert words in str(raised.value)


@pytest.mark.parametrize("fields", [fields for fields, _ in WRONG], ids=str)
def test_schema_rejects_what_the_runner_rejects(fields: dict[str, Any]) -> None:
    """Whoever checks a spec against the JSON Schema learns of the same mistakes."""
    with pytest.raises(jsonschema.ValidationError):
        validator("run-spec").validate(fields)


def test_rejects_a_step_that_is_named_twice() -> None:
    """Results are kept under the step's name, so that there can be one of each."""
    with pytest.raises(SettingsError, match="names the step 'run' twice"):
        run_spec_from(("the run", {"steps": ["run", "run"]}))


def test_rejects_a_selector_together_with_select() -> None:
    """Dbt would ignore the selection without a word."""
    with pytest.raises(SettingsError, match="selector 'nightly' of the deployment cannot be combined"):
        run_spec_from(("the deployment", {"selector": "nightly"}), ("the run", {"select": ["orders"]}))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "steps": st.lists(st.sampled_from([name.value for name in StepName]), min_size=1, unique=True),
            "select": st.lists(st.from_regex(r"[a-z:+]{1,9}", fullmatch=True)),
            "vars": st.dictionaries(st.text(), st.integers() | st.text() | st.none()),
            "full_refresh": st.booleans(),
            "threads": st.integers(1, 64) | st.none(),
            "deadline_seconds": st.integers(10, 604800),
            "start_over": st.booleans(),
        },
    )
)
def test_schema_accepts_what_the_runner_accepts(fields: dict[str, Any]) -> None:
    """Every spec that the runner takes is valid against its JSON Schema, and so is what it makes of it."""
    effective = run_spec_from(("the run", fields)).as_json()

    validator("run-spec").validate(fields)
    validator("run-spec").validate(effective)
