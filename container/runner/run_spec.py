"""The run spec: what one run does, typed, in three layers (image, deployment, run)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from runner.outcome import SettingsError

_Member = TypeVar("_Member", bound=StrEnum)


class StepName(StrEnum):
    """A step of the pipeline; each is one dbt command."""

    SOURCE_FRESHNESS = "source_freshness"
    SEED = "seed"
    SNAPSHOT = "snapshot"
    RUN = "run"
    TEST = "test"
    BUILD = "build"
    DOCS = "docs"


class Policy(StrEnum):
    """Whether a step that fails makes the run fail."""

    MUST_PASS = "must_pass"  # noqa: S105 - no password
    REPORT_ONLY = "report_only"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step and what its failure means."""

    name: StepName
    policy: Policy


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """
    A run that tries a pull request's project in schemas of its own and leaves the deployed ones alone.

    `schema_suffix`: `pr_17` builds in `<schema>_pr_17` and those that the project makes of it.
    `project_archive`: `s3://bucket/project/….tar.gz` with the project that is run instead of the image's; without one nothing is built.
    `drop`: the suffixes whose schemas are dropped before anything is built.
    """

    schema_suffix: str
    project_archive: str | None = None
    drop: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the trial as it stands in start.json."""
        return {"schema_suffix": self.schema_suffix, "project_archive": self.project_archive, "drop": list(self.drop)}


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """
    What one run does.

    The defaults here are the image's: freshness is reported (as dbt platform does), `build` must pass, and the docs never
    turn a good run red.
    """

    steps: tuple[Step, ...] = (
        Step(name=StepName.SOURCE_FRESHNESS, policy=Policy.REPORT_ONLY),
        Step(name=StepName.BUILD, policy=Policy.MUST_PASS),
        Step(name=StepName.DOCS, policy=Policy.REPORT_ONLY),
    )
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    selector: str | None = None
    vars: Mapping[str, Any] = field(default_factory=dict)
    full_refresh: bool = False
    threads: int = 4
    deadline_seconds: int = 7200
    defer_state: str | None = None
    sample_failed_rows: bool = False
    start_over: bool = False
    trial: Trial | None = None

    @property
    def begins_anew(self) -> bool:
        """Whether nothing that earlier attempts have built counts; a trial drops it."""
        return self.start_over or self.trial is not None

    def as_json(self) -> dict[str, Any]:
        """Return the spec as it stands in start.json."""
        return {
            "steps": [{"name": step.name.value, "policy": step.policy.value} for step in self.steps],
            "select": list(self.select),
            "exclude": list(self.exclude),
            "selector": self.selector,
            "vars": dict(self.vars),
            "full_refresh": self.full_refresh,
            "threads": self.threads,
            "deadline_seconds": self.deadline_seconds,
            "defer_state": self.defer_state,
            "sample_failed_rows": self.sample_failed_rows,
            "start_over": self.start_over,
            **({"trial": self.trial.as_json()} if self.trial else {}),
        }


def run_spec_from(*layers: tuple[str, Mapping[str, Any]]) -> RunSpec:
    """
    Merge `layers` field by field over the image's defaults; a later layer wins.

    Each layer is its name, for errors, and its fields. `null` resets a field to the image's default.
    Raises SettingsError with the layer, the field, the value got and what is allowed.
    """
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for layer, values in layers:
        unknown = sorted(set(values) - set(_READERS))
        if unknown:
            raise SettingsError(f"unknown field {unknown[0]!r} in {layer}, allowed are {sorted(_READERS)}")
        for name, value in values.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = _READERS[name](f"{name} of {layer}", value)
            origin[name] = layer
    spec = RunSpec(**merged)
    if spec.selector is not None and (spec.select or spec.exclude):
        # dbt itself ignores select and exclude silently when a selector is given.
        raise SettingsError(
            f"selector {spec.selector!r} of {origin['selector']} cannot be combined with select or exclude, "
            f"got select {list(spec.select)} and exclude {list(spec.exclude)}"
        )
    return spec


def _steps(where: str, got: object) -> tuple[Step, ...]:
    if not isinstance(got, list) or not got:
        raise SettingsError(f"{where} must be a list of steps that is not empty, got {got!r}")
    steps = tuple(_step(where, entry) for entry in got)
    names = [step.name for step in steps]
    twice = sorted({name.value for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"{where} names the step {twice[0]!r} twice, each step can run once")
    return steps


def _step(where: str, got: object) -> Step:
    if isinstance(got, str):
        got = {"name": got}
    if not isinstance(got, dict):
        raise SettingsError(f"{where} must hold objects with name and policy, got {got!r}")
    unknown = sorted(set(got) - {"name", "policy"})
    if unknown:
        raise SettingsError(f"unknown field {unknown[0]!r} in {where}, allowed are ['name', 'policy']")
    name = _member(StepName, f"name in {where}", got.get("name"))
    default = Policy.REPORT_ONLY if name in {StepName.SOURCE_FRESHNESS, StepName.DOCS} else Policy.MUST_PASS
    policy = default if got.get("policy") is None else _member(Policy, f"policy of {name} in {where}", got["policy"])
    return Step(name=name, policy=policy)


def _member(kind: type[_Member], where: str, got: object) -> _Member:
    for member in kind:
        if got == member.value:
            return member
    raise SettingsError(f"{where} must be one of {[member.value for member in kind]}, got {got!r}")


def _texts(where: str, got: object) -> tuple[str, ...]:
    if not isinstance(got, list) or not all(isinstance(entry, str) and entry for entry in got):
        raise SettingsError(f"{where} must be a list of texts, got {got!r}")
    for entry in got:
        if entry.startswith("-"):
            raise SettingsError(f"{where} must hold dbt selections, got {entry!r} which looks like an option")
    return tuple(got)


def _text(where: str, got: object) -> str:
    if not isinstance(got, str) or not got or got.startswith("-"):
        raise SettingsError(f"{where} must be a text that does not begin with '-', got {got!r}")
    return got


def _vars(where: str, got: object) -> Mapping[str, Any]:
    if not isinstance(got, dict):
        raise SettingsError(f"{where} must be an object, got {got!r}")
    return got


def _flag(where: str, got: object) -> bool:
    if not isinstance(got, bool):
        raise SettingsError(f"{where} must be true or false, got {got!r}")
    return got


def _whole_number(lowest: int, highest: int) -> Callable[[str, object], int]:
    def read(where: str, got: object) -> int:
        if isinstance(got, bool) or not isinstance(got, int) or not lowest <= got <= highest:
            raise SettingsError(f"{where} must be a whole number {lowest}..{highest}, got {got!r}")
        return got

    return read


def _state(where: str, got: object) -> str:
    text = _text(where, got)
    if not text.startswith("s3://") or "/" not in text.removeprefix("s3://"):
        raise SettingsError(f"{where} must be s3://bucket/prefix of a manifest.json, got {got!r}")
    return text


def _trial(where: str, got: object) -> Trial:
    if not isinstance(got, dict):
        raise SettingsError(f"{where} must be an object, got {got!r}")
    allowed = sorted(Trial.__dataclass_fields__)
    unknown = sorted(set(got) - set(allowed))
    if unknown:
        raise SettingsError(f"unknown field {unknown[0]!r} in {where}, allowed are {allowed}")
    drop = got.get("drop", [])
    if not isinstance(drop, list):
        raise SettingsError(f"drop in {where} must be a list, got {drop!r}")
    for suffix in [got.get("schema_suffix"), *drop]:
        # Nothing else can ever be dropped.
        if not isinstance(suffix, str) or not re.fullmatch(r"pr_[0-9]{1,9}", suffix):
            raise SettingsError(f"a suffix in {where} must be pr_ and a number, got {suffix!r}")
    archive = got.get("project_archive")
    if archive is not None and not (isinstance(archive, str) and re.fullmatch(r"s3://[^/]+/.+\.tar\.gz", archive)):
        raise SettingsError(f"project_archive in {where} must be s3://bucket/….tar.gz, got {archive!r}")
    return Trial(schema_suffix=got["schema_suffix"], project_archive=archive, drop=tuple(drop))


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "steps": _steps,
    "select": _texts,
    "exclude": _texts,
    "selector": _text,
    "vars": _vars,
    "full_refresh": _flag,
    "threads": _whole_number(1, 64),
    "deadline_seconds": _whole_number(10, 7 * 24 * 3600),
    "defer_state": _state,
    "sample_failed_rows": _flag,
    "start_over": _flag,
    "trial": _trial,
}
