"""The stack that lets a pipeline deploy an environment."""

import aws_cdk as cdk
from constructs import Construct

from constructs_lib.ci_access import Pipeline
from constructs_lib.deploy_role import DeployRole
from constructs_lib.place import place_of
from stacks import names
from stacks.settings import Environment

_BOOTSTRAP_ROLES = (
    cdk.DefaultStackSynthesizer.DEFAULT_DEPLOY_ROLE_ARN,
    cdk.DefaultStackSynthesizer.DEFAULT_FILE_ASSET_PUBLISHING_ROLE_ARN,
    cdk.DefaultStackSynthesizer.DEFAULT_IMAGE_ASSET_PUBLISHING_ROLE_ARN,
    cdk.DefaultStackSynthesizer.DEFAULT_LOOKUP_ROLE_ARN,
)


class CiStack(cdk.Stack):
    """
    Defines the role that `pipeline` deploys the environment with.

    It may assume the four roles of the bootstrap stack that are for people, and the one that pushes into our registries. What is
    deployed is then done by CloudFormation, with the execution role of the bootstrap stack, which nobody else can assume.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Environment, pipeline: Pipeline) -> None:
        super().__init__(
            scope,
            construct_id,
            stack_name=names.ci_stack(settings.name),
            description=f"Who deploys environment {settings.name}",
            termination_protection=settings.keeps_data_on_destroy,
        )
        role_name = names.deploy_role(settings.name)
        DeployRole(
            self,
            "Deploy",
            role_name=role_name,
            pipeline=pipeline,
            assumed_role_arns=[
                *map(self._bootstrap_role_arn, _BOOTSTRAP_ROLES),
                settings.role_arn(names.publishing_role(settings.name)),
            ],
        )
        # Written out, not as references: a pipeline reads them in the template, before it can ask AWS.
        cdk.CfnOutput(self, names.DEPLOY_ROLE_OUTPUT, value=settings.role_arn(role_name))
        cdk.CfnOutput(self, names.AUDIENCE_OUTPUT, value=pipeline.audience)

    def _bootstrap_role_arn(self, template: str) -> str:
        place = place_of(self)
        values = {
            "${AWS::Partition}": place.partition,
            "${AWS::AccountId}": place.account,
            "${AWS::Region}": place.region,
            "${Qualifier}": self.synthesizer.bootstrap_qualifier or cdk.DefaultStackSynthesizer.DEFAULT_QUALIFIER,
        }
        for placeholder, value in values.items():
            template = template.replace(placeholder, value)
        return template
