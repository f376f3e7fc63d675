"""All stacks of an environment, and the app of all environments."""

import gc
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from constructs_lib.fast_structs import structs_handed_over_at_once
from constructs_lib.findings import accepted_in, acknowledge
from constructs_lib.repository import REPOSITORY
from constructs_lib.role_path import RolePath
from constructs_lib.settings_error import SettingsError
from stacks.ci_stack import CiStack
from stacks.environment_stack import EnvironmentStack, SharedResources
from stacks.project_stack import ProjectStack
from stacks.settings import Environment, check_together


class DbtPlatform(cdk.Stage):
    """
    One environment: the environment stack, a stack for each of its projects, and one for who deploys it if settings say so.

    `cdk deploy 'live/**'` deploys one.
    """

    def __init__(self, scope: Construct, *, settings: Environment) -> None:
        super().__init__(scope, settings.name, env=cdk.Environment(account=settings.account, region=settings.region))
        with accepted_in(scope):
            self._define(settings)

    def _define(self, settings: Environment) -> None:
        self.environment_stack = EnvironmentStack(self, "Environment", settings=settings)
        shared = SharedResources(self.environment_stack, "Shared", settings=settings)
        self.project_stacks = {
            project.name: ProjectStack(self, project.name, settings=settings, project=project, shared=shared)
            for project in settings.projects
        }
        for project_stack in self.project_stacks.values():
            # It reads the environment stack's outputs, and its image goes into the environment stack's registry.
            project_stack.add_stack_dependency(self.environment_stack)
        self.ci_stack = CiStack(self, "Ci", settings=settings, pipeline=settings.ci) if settings.ci else None
        for project in settings.tried_projects:
            # It makes the identity provider that the project's role for pull requests trusts.
            if self.ci_stack is not None:
                self.project_stacks[project.name].add_stack_dependency(self.ci_stack)
        cdk.Tags.of(self).add("environment", settings.name)
        self._follow_rules_for_roles(settings)

    def _follow_rules_for_roles(self, settings: Environment) -> None:
        acknowledge(
            self,
            {
                "NIST.800.53.R5-IAMNoInlinePolicy": "A role and its policy are one thing here, and go together; a managed policy "
                "could be attached to others."
            },
        )
        if settings.permissions_boundary_arn is not None:
            boundary = iam.ManagedPolicy.from_managed_policy_arn(
                self.environment_stack, "PermissionsBoundary", settings.permissions_boundary_arn
            )
            iam.PermissionsBoundary.of(self).apply(boundary)
        if settings.role_path is not None:
            cdk.Aspects.of(self).add(RolePath(settings.role_path))


def feature_flags() -> dict[str, Any]:
    """The feature flags of cdk.json, which the CDK CLI would give; without them another template would come out."""
    flags: dict[str, Any] = json.loads((REPOSITORY / "cdk.json").read_text(encoding="utf-8"))["context"]
    return flags


def dbt_app(environments: Sequence[Environment]) -> cdk.App:
    """
    The app of `environments`; `checks.check_when_synthesized` adds the checkers.

    Raises `SettingsError` if the environments do not go together or a dbt project does not parse.
    """
    check_together(environments)
    # Stack traces name temporary folders of this process: two synths would differ.
    app = cdk.App(
        context={
            **feature_flags(),
            "aws:cdk:disable-creation-stack-traces": True,
            # Half of the bytes that a fleet writes; a person reads the snapshots, or what `cdk synth <stack>` prints.
            "@aws-cdk/core:suppressTemplateIndentation": True,
        },
        # A description of all constructs that no command of the CDK CLI needs: about a tenth of the time that a fleet takes.
        tree_metadata=False,
        # Usage data for AWS on each property of each construct: as much again.
        post_cli_context={"@aws-cdk/core:enableAdditionalMetadataCollection": False},
    )
    for settings in environments:
        DbtPlatform(app, settings=settings)
    return app


def synthesize(environments: Callable[[], Sequence[Environment]]) -> int:
    """
    Synthesize the app of `environments()`; returns the exit code.

    A wrong setting is one line on standard error. It is raised while settings are made, which is why they come as a function.
    """
    # jsii keeps every construct until the process ends: a collector finds nothing, and of a fleet takes a twentieth of the synth.
    gc.disable()
    try:
        with structs_handed_over_at_once():
            dbt_app(environments()).synth()
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        gc.enable()
    return 0
