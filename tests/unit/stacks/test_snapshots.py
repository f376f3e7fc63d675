"""The templates that were reviewed are the templates that are deployed."""

import json

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from stacks.diff import SNAPSHOTS, masked, snapshot
from stacks.environments import ENVIRONMENTS
from stacks.platform import DbtPlatform
from stacks.settings import Environment


def _rendered(stack: cdk.Stack) -> str:
    return masked(json.dumps(Template.from_stack(stack).to_json(), indent=1, sort_keys=True) + "\n")


@pytest.mark.parametrize("settings", ENVIRONMENTS, ids=lambda settings: str(settings.name))
def test_templates_are_the_reviewed_snapshots(app: cdk.App, settings: Environment, accept_templates: bool) -> None:
    """A change of infrastructure shows in the pull request as a change of these files."""
    platform = DbtPlatform(app, settings=settings)
    templates = {
        snapshot(stack.stack_name): _rendered(stack) for stack in platform.node.children if isinstance(stack, cdk.Stack)
    }
    if accept_templates:
        for file, text in templates.items():
            file.write_text(text)

    assert {file.name: text for file, text in templates.items()} == {file.name: file.read_text() for file in templates}


def test_every_snapshot_is_of_a_stack(app: cdk.App, accept_templates: bool) -> None:
    """A removed stack leaves no snapshot behind."""
    stacks = [
        stack.stack_name
        for settings in ENVIRONMENTS
        for stack in DbtPlatform(app, settings=settings).node.children
        if isinstance(stack, cdk.Stack)
    ]
    expected = {f"{name}.template.json" for name in stacks}
    if accept_templates:
        for file in SNAPSHOTS.glob("*.template.json"):
            if file.name not in expected:
                file.unlink()

    assert {file.name for file in SNAPSHOTS.glob("*.template.json")} == expected
