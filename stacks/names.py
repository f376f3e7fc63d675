"""
Names that something else must know before a stack is deployed, each written once.

What needs none of these gets its name from CloudFormation.
"""


def environment_stack(environment: str) -> str:
    """The stack that holds what the projects of an environment share."""
    return f"{environment}-dbt"


def project_stack(environment: str, project: str) -> str:
    """A project's stack."""
    return f"{environment}-dbt-{project.replace('_', '-')}"


def task_family(environment: str, project: str) -> str:
    """A project's task definition family; launch roles and alerts name it."""
    return project_stack(environment, project)


def repository_prefix(environment: str) -> str:
    """What the names of all registries of an environment begin with."""
    return f"{environment}/dbt/"


def repository(environment: str, project: str) -> str:
    """The registry of a project's images; the CDK CLI pushes there."""
    return f"{repository_prefix(environment)}{project}"


def publishing_role(environment: str) -> str:
    """The role that the CDK CLI pushes images with."""
    return f"{environment}-dbt-image-publishing"


def ci_stack(environment: str) -> str:
    """The stack of what a pipeline deploys an environment with."""
    return f"{environment}-ci"


def deploy_role(environment: str) -> str:
    """The role that a pipeline deploys an environment with; it must know the name before it can ask AWS for anything."""
    return f"{environment}-dbt-deploy"


def slim_ci_role(environment: str, project: str) -> str:
    """The role that tries a project's pull requests; their pipeline must know the name before it can ask AWS for anything."""
    return f"{project_stack(environment, project)}-slim-ci"


def dag_id(environment: str, project: str) -> str:
    """A project's DAG."""
    return f"dbt_{environment.replace('-', '_')}_{project}"


def dag_package(environment: str) -> str:
    """The folder, and Python package, that the DAGs of an environment share."""
    return f"dbt_on_fargate_{environment.replace('-', '_')}"


def dag_folder(environment: str, project: str) -> str:
    """The folder of one project's DAG."""
    return f"{dag_package(environment)}_{project}"


def dashboard(environment: str, project: str) -> str:
    """A project's page in CloudWatch, which people look for by its name."""
    return project_stack(environment, project)


def project_prefix(project: str) -> str:
    """A project's part of the bucket of run records and docs."""
    return f"{project}/"


def construct_id(project: str) -> str:
    """A project's name as the id of a construct: `book_shop` is `BookShop`."""
    return "".join(part.capitalize() for part in project.split("_"))


PAGES_PREFIX = "_pages/"
"""The part of the artifacts bucket that holds the pages over all runs; no project's name begins with an underscore."""

DEPLOY_ROLE_OUTPUT = "DeployRoleArn"
AUDIENCE_OUTPUT = "TokenAudience"
"""What a pipeline reads in the template of `ci_stack`: who it deploys as, and for whom its token must be made out."""
