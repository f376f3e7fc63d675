"""The folders that a deployment keeps in a bucket."""

import aws_cdk as cdk
from aws_cdk import aws_s3_deployment as s3_deployment
from aws_cdk.assertions import Template

from constructs_lib.bucket_folder import BucketFolder
from tests.unit.rights import statements_of


def test_a_sibling_is_a_folder_beside_the_first(app: cdk.App) -> None:
    """CDK copies all folders of a stack by one function, so one role has to allow all of them, and nothing else."""
    environment = cdk.Environment(account="111111111111", region="eu-central-1")
    stack = cdk.Stack(app, "Stack", env=environment)
    BucketFolder(
        stack,
        "Files",
        bucket_name="airflow",
        folder="dags/ours",
        description="Copies DAG files",
        sources=[s3_deployment.Source.data("dag.py", "pass")],
        encryption_key=None,
        siblings={"ours.dist-info": [s3_deployment.Source.data("METADATA", "Name: ours")]},
    )

    template = Template.from_stack(stack)
    prefixes = {
        deployment["Properties"]["DestinationBucketKeyPrefix"]
        for deployment in template.find_resources("Custom::CDKBucketDeployment").values()
    }
    assert prefixes == {"dags/ours/", "dags/ours.dist-info/"}
    template.resource_count_is("AWS::IAM::Role", 1)
    statements = statements_of(template.to_json()["Resources"])
    (writable,) = [statement["Resource"] for statement in statements if "s3:PutObject" in statement["Action"]]
    assert set(writable) == {"arn:aws:s3:::airflow/dags/ours/*", "arn:aws:s3:::airflow/dags/ours.dist-info/*"}
    # Without the slash it would be those, too, whose names only begin so.
    (listed,) = [statement["Condition"] for statement in statements if statement["Action"] == "s3:ListBucket"]
    assert listed == {"StringLike": {"s3:prefix": ["dags/ours/*", "dags/ours.dist-info/*"]}}
