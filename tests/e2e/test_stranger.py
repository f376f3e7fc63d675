"""
A stranger's story: fork, new project, local run, pull request with a broken model, fix, merge, dev, approval, live, rollback.

Every step is a command of the docs, in a clone of this repository whose settings are the stranger's. It comes after all that
pushes images of the other environment: podman would look for layers in the registries of these, too, which that environment's
role is denied.
"""

import base64
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from local_cloud.cdk_cli import REPOSITORY_ROOT
from local_cloud.fork import Fork
from tests.e2e.analyst import Analyst, ended, start_make
from tests.e2e.auditor import Auditor, answer
from tests.e2e.conftest import Story
from tests.e2e.grants import decisions, deployed_roles, unused

_PROJECT = "book_sales"
_ENVIRONMENTS = ("dev", "live")
_HOST = "token.actions.githubusercontent.com"
_MODEL = "models/marts/dim_day_kinds.sql"
_HOLIDAYS = """

union all

select
    3 as day_kind_id,
    'holiday' as day_kind
"""
# What the stranger makes of the examples at the end of stacks/environments.py: two environments in the account of this machine.
_SETTINGS = """
def _environment(name: str, provider_arn: str | None) -> Environment:
    return dataclasses.replace(
        LOCAL,
        name=name,
        ci=GitHub(repository="owner/dbt", environment=name, tries_pull_requests=name == "dev", provider_arn=provider_arn),
        projects=({project}),
    )


ENVIRONMENTS = (_environment("dev", None), _environment("live", "{provider_arn}"))
"""
# Docker's command line that refuses to build, and is otherwise the one that it stands before.
_BUILDS_NOTHING = """#!/bin/sh
case "$1" in build|buildx) echo "nothing may be built now" >&2; exit 1;; esac
exec "{docker}" "$@"
"""


class Stranger:
    """A person with a fork, whose pipelines run on this machine."""

    def __init__(self, story: Story, analyst: Analyst, folder: Path) -> None:
        self.story = story
        self.analyst = analyst
        self.fork = Fork(folder)
        self.folder = folder
        self.account = story.choice.settings.account
        # The person at `make deploy` agrees to what the CDK asks.
        self._answers = Path(story.cloud.client_environment()["HOME"]) / ".cdk.json"
        self._answers.write_text(json.dumps({"requireApproval": "never"}), encoding="utf-8")

    def make(
        self, target: str, environment: Mapping[str, str] | None = None, /, **variables: object
    ) -> tuple[int, str]:
        """A command in the fork, with the account's own credentials unless others are given: exit code and output."""
        with self.story.steps.step(" ".join(["make", target, *(f"{key}={value}" for key, value in variables.items())])):
            return ended(
                start_make(self.folder, environment or self.story.cloud.client_environment(), target, variables)
            )

    def pipeline(self, subject: str, **more: str) -> dict[str, str]:
        """What a job has that GitHub signs a token for; the emulator looks at the claims, not at the signature."""
        return {**self.story.cloud.client_environment(), "AWS_ID_TOKEN": token(subject), **more}

    def output(self, stack_name: str, name: str) -> str:
        """What a deployed stack says by this name."""
        cloudformation = self.story.cloud.account.client("cloudformation")
        (stack,) = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
        return next(str(found["OutputValue"]) for found in stack["Outputs"] if found["OutputKey"] == name)

    def role(self, environment: str, beginning: str) -> str:
        """The name of the deployed role whose logical id begins so."""
        (name,) = (
            role.name for role in deployed_roles(self.story, environment) if role.logical_id.startswith(beginning)
        )
        return name

    def cdks_role(self, purpose: str) -> str:
        """The name of a role of CDK's bootstrap stack."""
        return f"cdk-hnb659fds-{purpose}-role-{self.account}-{self.story.choice.settings.region}"

    @property
    def uploads_bucket(self) -> str:
        """Where CDK uploads what stacks need."""
        return f"cdk-hnb659fds-assets-{self.account}-{self.story.choice.settings.region}"

    def become(self, as_role: Callable[[str], Any], role_name: str) -> object:
        """Assume a role of the account with the credentials of another one."""
        return as_role("sts").assume_role(
            RoleArn=f"arn:aws:iam::{self.account}:role/{role_name}", RoleSessionName="intruder"
        )

    def run(self, environment: str) -> None:
        """Run the project there to a green end, with an analyst's login."""
        code, output = self.make("run", self.analyst.environment, ENV=environment, PROJECT=_PROJECT)
        assert code == 0, output

    def image(self, environment: str) -> str:
        """The digest of the image that the environment's task definition names."""
        family = f"{environment}-dbt-book-sales"
        definition = self.story.cloud.account.client("ecs").describe_task_definition(taskDefinition=family)
        (container,) = definition["taskDefinition"]["containerDefinitions"]
        tag = container["image"].rpartition(":")[2]
        (image,) = self.story.cloud.account.client("ecr").describe_images(
            repositoryName=f"{environment}/dbt/{_PROJECT}", imageIds=[{"imageTag": tag}]
        )["imageDetails"]
        return str(image["imageDigest"])

    def kinds(self, schema: str) -> set[str]:
        """What the model says in a schema of the warehouse."""
        return {kind for (kind,) in self.story.cloud.warehouse.query(f"select day_kind from {schema}.dim_day_kinds")}

    def leave(self) -> None:
        """Destroy both environments."""
        try:
            with self.story.steps.step("cdk destroy of the two environments"):
                cdk = self.story.cloud.cdk(("python", str(self.folder / "app.py")))
                for name in reversed(_ENVIRONMENTS):
                    cdk.run("destroy", f"{name}/**", "--force")
        finally:
            self._answers.unlink()


def token(subject: str) -> str:
    """What GitHub signs for whom `subject` names."""
    claims = {"iss": f"https://{_HOST}", "aud": "sts.amazonaws.com", "sub": subject}
    parts = (json.dumps(part).encode() for part in ({"alg": "RS256"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "signature"])


_PULL_REQUEST = "repo:owner/dbt:pull_request"
_ROLE = "dev-dbt-book-sales-slim-ci"


@pytest.fixture(scope="module")
def stranger(story: Story, analyst: Analyst, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stranger]:
    """The fork; what it has deployed is gone after the tests."""
    stranger = Stranger(story, analyst, tmp_path_factory.mktemp("story") / "fork")
    yield stranger
    stranger.leave()


def test_new_project_is_built_on_this_machine_without_an_account(stranger: Stranger) -> None:
    """`make new-project` says what the settings need, and the project builds on the stand-in."""
    code, said = stranger.make("new-project", NAME=_PROJECT)
    assert code == 0, said
    (line,) = re.findall(r"^ +(DbtProject\(.*\),)$", said, re.MULTILINE)
    settings = _SETTINGS.format(
        # One warehouse plays those of both environments.
        project=line.replace(f'schema="{_PROJECT}"', f'schema=f"{_PROJECT}_{{name}}"'),
        provider_arn=f"arn:aws:iam::{stranger.account}:oidc-provider/{_HOST}",
    )
    stranger.fork.edit(
        "stacks/environments.py",
        lambda text: "import dataclasses\n" + re.sub(r"^ENVIRONMENTS = .*$", "", text, flags=re.MULTILINE) + settings,
    )
    nobody = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    code, output = stranger.make("dbt", nobody, ARGS="build", PROJECT=_PROJECT, SANDBOX="ana", OFFLINE="1")

    assert code == 0, output
    assert "schema dbt_ana in a stand-in for Redshift on this machine" in output
    assert re.search(r"OK created sql table model dbt_ana\.dim_day_kinds", output), output


def test_person_deploys_once_and_dev_runs(stranger: Stranger) -> None:
    """From then on the pipeline may do it; a commit is deployed by its name, and one project by its own."""
    said = {
        "the account": stranger.make("bootstrap", ENV="dev"),
        "all": stranger.make("deploy", ENV="dev"),
        "one": stranger.make("deploy", ENV="dev", PROJECT=_PROJECT),
    }
    assert {what: code for what, (code, _) in said.items() if code != 0} == {}, said
    assert "(no changes)" in said["one"][1]
    assert re.findall(r"✅ +\S+ \((\S+)\)", said["one"][1]) == ["dev-dbt-book-sales"], said
    stranger.story.types(
        "docs/runbook.md", "git checkout", {"<commit>": "main", "<env>": "live"}, folder=stranger.folder
    )
    stranger.run("dev")

    assert stranger.kinds("book_sales_dev") == {"weekday", "weekend"}


def test_pull_request_that_breaks_a_model_is_told_which_and_why(stranger: Stranger) -> None:
    """In the database's words, before the merge, in schemas of its own; by the pull request's own token."""
    stranger.fork.git("checkout", "--quiet", "-b", "holidays")
    stranger.fork.edit(
        f"projects/{_PROJECT}/{_MODEL}", lambda text: text.replace("1 as day_kind_id", "no_such_column as day_kind_id")
    )
    code, output = stranger.make("ci-try", stranger.pipeline(_PULL_REQUEST), BASE="main", PR=7)
    comment = (stranger.folder / "build/slim-ci.md").read_text()

    assert code == 1, output
    assert "dbt project book_sales: ❌ failed" in comment
    assert 'column "no_such_column" does not exist' in comment
    assert "❌ error | `dim_day_kinds`" in comment
    assert stranger.kinds("book_sales_dev") == {"weekday", "weekend"}


def test_pull_request_that_is_fixed_is_green(stranger: Stranger) -> None:
    """The next push is tried anew, beside the deployed schema, whose table stays as it was."""
    stranger.fork.git("reset", "--quiet", "--hard", "main")
    stranger.fork.edit(f"projects/{_PROJECT}/{_MODEL}", lambda text: text.rstrip() + _HOLIDAYS)
    stranger.fork.edit(
        f"projects/{_PROJECT}/models/marts/_marts.yml", lambda text: text.replace("weekend]", "weekend, holiday]")
    )
    code, output = stranger.make("ci-try", stranger.pipeline(_PULL_REQUEST), BASE="main", PR=7)

    assert code == 0, output
    assert "✅ success | `dim_day_kinds`" in (stranger.folder / "build/slim-ci.md").read_text()
    assert stranger.kinds("book_sales_dev_pr_7") == {"weekday", "weekend", "holiday"}
    assert stranger.kinds("book_sales_dev") == {"weekday", "weekend"}


def test_pull_request_that_is_closed_leaves_nothing(stranger: Stranger) -> None:
    """Neither schemas nor files."""
    code, output = stranger.make("ci-try-drop", stranger.pipeline(_PULL_REQUEST), PR=7)
    schemas = stranger.story.cloud.warehouse.query("select nspname from pg_namespace where nspname like '%\\_pr\\_7%'")
    bucket = stranger.story.cloud.account.client("s3")

    assert code == 0, output
    assert schemas == []
    assert [
        item["Key"]
        for found in bucket.list_buckets()["Buckets"]
        for item in bucket.list_objects_v2(Bucket=found["Name"], Prefix=f"{_PROJECT}/slim-ci/").get("Contents", [])
    ] == []


def test_role_of_pull_requests_has_what_it_uses_and_nothing_else(stranger: Stranger) -> None:
    """Every grant was used and nothing was denied; with its own credentials it can do nothing of what others may."""
    story, made = stranger.story, decisions(stranger.story)
    (role,) = (role for role in deployed_roles(story, "dev") if role.name == _ROLE)
    by_it = [decision for decision in made if decision.role_name == _ROLE]
    assert {decision.answer for decision in by_it} == {"Allow"}
    assert unused(role.grants, made) == []

    bucket = stranger.output("dev-dbt", "ArtifactsBucketName")
    own_file = f"{_PROJECT}/slim-ci/pr_7/a.tar.gz"
    auditor = Auditor(story, "auditor-of-trials")
    try:
        as_role = auditor.clients(role)
        as_role("s3").put_object(Bucket=bucket, Key=own_file, Body=b"")
        as_role("s3").delete_object(Bucket=bucket, Key=own_file)
        answers = {what: answer(attempt) for what, attempt in _refused_to_trials(stranger, as_role, bucket).items()}
    finally:
        auditor.leave()
    assert {what: given for what, given in answers.items() if given != "denied"} == {}


def _refused_to_trials(
    stranger: Stranger, as_role: Callable[[str], Any], bucket: str
) -> Mapping[str, Callable[[], object]]:
    own_file = f"{_PROJECT}/slim-ci/pr_7/a.tar.gz"
    return {
        "read a record": lambda: as_role("s3").get_object(Bucket=bucket, Key=f"{_PROJECT}/latest.json"),
        "read what it has put": lambda: as_role("s3").get_object(Bucket=bucket, Key=own_file),
        "put something elsewhere": lambda: as_role("s3").put_object(
            Bucket=bucket, Key=f"{_PROJECT}/latest.json", Body=b""
        ),
        "put something for another project": lambda: as_role("s3").put_object(
            Bucket=bucket, Key="another/slim-ci/pr_7/a.tar.gz", Body=b""
        ),
        "delete a record": lambda: as_role("s3").delete_object(Bucket=bucket, Key=f"{_PROJECT}/latest.json"),
        "list the bucket": lambda: as_role("s3").list_objects_v2(Bucket=bucket),
        "change a DAG": lambda: as_role("s3").put_object(
            Bucket=stranger.story.choice.settings.dags_bucket, Key="dags/another.py", Body=b""
        ),
        "start a container past the launch role": lambda: as_role("ecs").run_task(
            cluster="any", taskDefinition="dev-dbt-book-sales"
        ),
        "read the warehouse's password": lambda: as_role("glue").get_connection(Name="warehouse"),
        "become the role that deploys": lambda: stranger.become(as_role, "dev-dbt-deploy"),
        "become who hands templates to CloudFormation": lambda: stranger.become(as_role, stranger.cdks_role("deploy")),
        "become who pushes images": lambda: stranger.become(as_role, "dev-dbt-image-publishing"),
        "become the role of dbt": lambda: stranger.become(as_role, stranger.role("dev", "TaskTaskRole")),
        "become the role that starts runs of another environment": lambda: stranger.become(
            as_role, stranger.role("live", "LaunchRole")
        ),
        "push an image": lambda: as_role("ecr").put_image(repositoryName=f"dev/dbt/{_PROJECT}", imageManifest="{}"),
        "stop a container past the launch role": lambda: as_role("ecs").stop_task(cluster="any", task="0" * 32),
        "write a specification past the launch role": lambda: as_role("s3").put_object(
            Bucket=bucket, Key=f"{_PROJECT}/runs/1/spec.json", Body=b"{}"
        ),
        "copy a record to where it may write": lambda: as_role("s3").copy_object(
            Bucket=bucket, Key=own_file, CopySource={"Bucket": bucket, "Key": f"{_PROJECT}/latest.json"}
        ),
        "list what it has put": lambda: as_role("s3").list_objects_v2(Bucket=bucket, Prefix=f"{_PROJECT}/slim-ci/"),
        "put something for all runs": lambda: as_role("s3").put_object(
            Bucket=bucket, Key="_pages/index.html", Body=b""
        ),
        "change who is trusted": lambda: as_role("iam").update_assume_role_policy(RoleName=_ROLE, PolicyDocument="{}"),
        "call the guard": lambda: as_role("lambda").invoke(
            FunctionName=stranger.output("dev-dbt", "GuardFunctionName")
        ),
        "look at what is deployed": lambda: as_role("cloudformation").describe_stacks(),
    }


def test_role_of_a_pipeline_may_become_who_deploys_and_nothing_else(stranger: Stranger) -> None:
    """It has no right of its own: with its own credentials it can do nothing but become the roles that it is for."""
    (role,) = (role for role in deployed_roles(stranger.story, "dev") if role.name == "dev-dbt-deploy")
    auditor = Auditor(stranger.story, "auditor-of-deployments")
    try:
        as_role = auditor.clients(role)
        for allowed in (stranger.cdks_role("deploy"), stranger.cdks_role("lookup"), "dev-dbt-image-publishing"):
            stranger.become(as_role, allowed)
        answers = {what: answer(attempt) for what, attempt in _refused_to_deployments(stranger, as_role).items()}
    finally:
        auditor.leave()
    assert {what: given for what, given in answers.items() if given != "denied"} == {}


def _refused_to_deployments(stranger: Stranger, as_role: Callable[[str], Any]) -> Mapping[str, Callable[[], object]]:
    bucket = stranger.output("dev-dbt", "ArtifactsBucketName")
    return {
        "become CloudFormation": lambda: stranger.become(as_role, stranger.cdks_role("cfn-exec")),
        "become the role that starts runs": lambda: stranger.become(as_role, stranger.role("dev", "LaunchRole")),
        "become the role of dbt": lambda: stranger.become(as_role, stranger.role("dev", "TaskTaskRole")),
        "become the role of the guard": lambda: stranger.become(as_role, stranger.role("dev", "GuardFunctionRole")),
        "become the role of pull requests": lambda: stranger.become(as_role, _ROLE),
        "become the role that deploys another environment": lambda: stranger.become(as_role, "live-dbt-deploy"),
        "become who pushes another environment's images": lambda: stranger.become(as_role, "live-dbt-image-publishing"),
        "become Airflow": lambda: stranger.become(
            as_role, stranger.story.choice.settings.airflow_role_arn.rpartition("/")[2]
        ),
        "deploy past CDK's roles": lambda: as_role("cloudformation").delete_stack(StackName="dev-dbt"),
        "upload past CDK's roles": lambda: as_role("s3").put_object(
            Bucket=stranger.uploads_bucket, Key="any.zip", Body=b""
        ),
        "push an image past its role": lambda: as_role("ecr").put_image(
            repositoryName=f"dev/dbt/{_PROJECT}", imageManifest="{}"
        ),
        "read a record": lambda: as_role("s3").get_object(Bucket=bucket, Key=f"{_PROJECT}/latest.json"),
        "change a DAG": lambda: as_role("s3").put_object(
            Bucket=stranger.story.choice.settings.dags_bucket, Key="dags/another.py", Body=b""
        ),
        "start a container": lambda: as_role("ecs").run_task(cluster="any", taskDefinition="dev-dbt-book-sales"),
        "read the warehouse's password": lambda: as_role("glue").get_connection(Name="warehouse"),
        "pass a role": lambda: as_role("lambda").create_function(
            FunctionName="mine",
            Role=f"arn:aws:iam::{stranger.account}:role/{stranger.role('dev', 'TaskTaskRole')}",
            Code={"ZipFile": b"code"},
            Runtime="python3.14",
            Handler="h.h",
        ),
        "make a user": lambda: as_role("iam").create_user(UserName="intruder"),
        "let another repository in": lambda: as_role("iam").update_assume_role_policy(
            RoleName="dev-dbt-deploy", PolicyDocument="{}"
        ),
        "let another provider in": lambda: as_role("iam").create_open_id_connect_provider(
            Url="https://example.com", ClientIDList=["any"]
        ),
    }


@pytest.mark.parametrize(
    "subject",
    ["repo:stranger/dbt:pull_request", "repo:owner/dbt:environment:dev", "repo:owner/dbt:ref:refs/heads/main"],
    ids=["a fork", "a deployment", "a branch"],
)
def test_no_other_token_is_a_pull_requests(stranger: Stranger, subject: str) -> None:
    """Not that of a fork's, and none of another job in the repository."""
    arn = f"arn:aws:iam::{stranger.account}:role/{_ROLE}"
    become = stranger.story.cloud.account.client("sts").assume_role_with_web_identity

    assert become(RoleArn=arn, RoleSessionName="audit", WebIdentityToken=token(_PULL_REQUEST))["Credentials"]
    assert answer(lambda: become(RoleArn=arn, RoleSessionName="intruder", WebIdentityToken=token(subject))) == "denied"


def test_merge_is_built_once(stranger: Stranger) -> None:
    """One artifact with one image for both environments, and what that is made of: dbt in its locked version, the distribution's Python."""
    stranger.fork.git("checkout", "--quiet", "main")
    stranger.fork.git("merge", "--quiet", "--no-edit", "holidays")
    code, output = stranger.make("ci-build")
    assert code == 0, output
    artifact = stranger.folder / "build/artifact"
    assert len(list((artifact / "images").glob("*.json"))) == 1
    assert json.loads((artifact / "artifact.json").read_text())["commit"] == stranger.fork.git("rev-parse", "HEAD")
    (bill,) = (artifact / "sbom").glob("*.cdx.json")
    purls = [component["purl"] for component in json.loads(bill.read_text())["components"]]
    (locked,) = re.findall(
        r"^dbt-core==(\S+)", (REPOSITORY_ROOT / "container/requirements.txt").read_text(), re.MULTILINE
    )

    assert f"pkg:pypi/dbt-core@{locked}" in purls
    assert any(purl.startswith("pkg:deb/debian/python3@") for purl in purls)


@pytest.fixture
def docker_that_cannot_build(story: Story, tmp_path: Path) -> str:
    """The path of a command line that is Docker's otherwise."""
    docker = tmp_path / "docker"
    docker.write_text(_BUILDS_NOTHING.format(docker=story.cloud.client_environment()["CDK_DOCKER"]))
    docker.chmod(0o755)
    return str(docker)


def test_dev_then_live_run_the_same_image_and_nothing_is_built(
    stranger: Stranger, docker_that_cannot_build: str
) -> None:
    """Deployed by the pipeline's own token, each environment by its own, which may assume the CDK's roles and nothing else."""
    before = stranger.image("live")
    pipelines = {
        name: stranger.pipeline(f"repo:owner/dbt:environment:{name}", CDK_DOCKER=docker_that_cannot_build)
        for name in _ENVIRONMENTS
    }
    code, output = stranger.make("ci-deploy", pipelines["dev"], ENV="dev")
    assert code == 0, output
    stranger.run("dev")
    assert stranger.kinds("book_sales_dev") == {"weekday", "weekend", "holiday"}
    code, output = stranger.make("ci-deploy", pipelines["dev"], ENV="live")
    assert code != 0, output
    code, output = stranger.make("ci-deploy", pipelines["live"], ENV="live", ARTIFACT="build/artifact")
    assert code == 0, output
    stranger.run("live")

    assert stranger.kinds("book_sales_live") == {"weekday", "weekend", "holiday"}
    assert stranger.image("dev") == stranger.image("live") != before
    by_the_pipeline = {made.action for made in decisions(stranger.story) if made.role_name == "live-dbt-deploy"}
    # Who one is may be asked by everyone.
    assert by_the_pipeline == {"sts:AssumeRole", "sts:GetCallerIdentity"}


def test_rollback_brings_the_version_before_back(stranger: Stranger) -> None:
    """One command, no build; the next run is of the model as it was."""
    code, output = stranger.make("rollback", ENV="live", PROJECT=_PROJECT)
    assert code == 0, output
    stranger.run("live")

    assert stranger.kinds("book_sales_live") == {"weekday", "weekend"}


def test_an_artifact_that_was_changed_is_not_deployed(stranger: Stranger) -> None:
    """Not even by one byte; an environment that it does not have is named with those that it has."""
    code, output = stranger.make("ci-deploy", ENV="third")
    assert (code, "environment must be one of dev, live, got 'third'" in output) == (2, True), output
    image = max((stranger.folder / "build/artifact/images/blobs").iterdir(), key=lambda part: part.stat().st_size)
    with image.open("ab") as file:
        file.write(b"\0")
    code, output = stranger.make("ci-deploy", ENV="dev")
    assert (code, f"is not as it was built: images/blobs/{image.name}" in output) == (2, True), output
