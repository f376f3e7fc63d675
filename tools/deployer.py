"""Who deploys: the CDK's own role in an environment's account, as the CDK CLI takes it."""

import boto3

from stacks.bootstrap import bootstrap_qualifier
from stacks.settings import Environment


def bootstrap_name(environment: Environment, kind: str) -> str:
    """The name of a role or of the bucket (`assets`) of the CDK's bootstrap stack."""
    return f"cdk-{bootstrap_qualifier()}-{kind}-{environment.account}-{environment.region}"


def deployer(session: boto3.Session, environment: Environment) -> boto3.Session:
    """A session as the CDK's deploy role, which `session` must be allowed to assume; raises ClientError if it is not."""
    partition = session.get_partition_for_region(environment.region)
    role_name = bootstrap_name(environment, "deploy-role")
    given = session.client("sts", region_name=environment.region).assume_role(
        RoleArn=f"arn:{partition}:iam::{environment.account}:role/{role_name}", RoleSessionName="make"
    )["Credentials"]
    return boto3.Session(
        given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=environment.region
    )
