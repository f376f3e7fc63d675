"""What a push, a pull request and an approval set going, in GitHub and in GitLab, as runners on this machine do it."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from constructs_lib.repository import REPOSITORY
from tests.unit.pipelines.runners import GITLAB_FILE, WORKFLOWS, Runners, used_actions, workflow

pytestmark = pytest.mark.slow

_MAIN = {"ref": "refs/heads/main"}
_NO_TOKEN = "| token: none"

# GitHub's command line: `gh api PATH --jq FILTER`, which knows the artifacts of ARTIFACTS, and of what commit a run has succeeded.
_GH = f"""#!{sys.executable}
import jq, json, os, sys

_, path, _, program = sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
    print("gh", path, file=calls)
name = path.partition("?name=")[2]
found = [artifact for artifact in {{artifacts}} if artifact["name"] == name]
print(*jq.compile(program).input_value({{{{"artifacts": found, "workflow_runs": [{{{{"head_sha": "passed"}}}}]}}}}).all())
"""


def _artifact(run_id: int, **changes: object) -> dict[str, object]:
    """As GitHub lists an artifact of commit `built` that a push to main made, with `changes` of its run."""
    run = {"id": run_id, "repository_id": 1, "head_repository_id": 1, "head_branch": "main", "head_sha": "built"}
    return {"name": "artifact-built", "expired": False, "workflow_run": {**run, **changes}}


_ARTIFACTS = [
    _artifact(1, head_branch="feature"),
    _artifact(2, head_repository_id=666),
    _artifact(3, head_sha="another"),
    {**_artifact(4), "expired": True},
    _artifact(4711),
    _artifact(4000),
    {**_artifact(5, head_branch="feature", head_sha="never"), "name": "artifact-never"},
]


@pytest.fixture
def runners(tmp_path: Path) -> Runners:
    """Both runners and a checkout."""
    runners = Runners(tmp_path, {"gh": _GH.format(artifacts=_ARTIFACTS)})
    runners.prepare()
    return runners


def _pull_request(repository: str, action: str = "synchronize") -> dict[str, object]:
    change = {"number": 7, "head": {"repo": {"full_name": repository}}, "base": {"sha": "b" * 40}}
    return {"pull_request": change, "action": action}


_MERGE_REQUEST = {
    "CI_PIPELINE_SOURCE": "merge_request_event",
    "CI_COMMIT_BRANCH": "",
    "CI_MERGE_REQUEST_IID": "7",
    "CI_MERGE_REQUEST_DIFF_BASE_SHA": "b" * 40,
}


def test_github_merge_is_built_once_and_deployed_everywhere_from_that(runners: Runners) -> None:
    """Checks since what has passed them and build side by side, then dev, then live, each deploying the one artifact of this run."""
    ran = runners.github("push", _MAIN)

    assert ran.succeeded, ran.output
    first, rest = ran.calls[:5], ran.calls[5:]
    assert sorted(first) == sorted(
        [
            "checkout ",
            "checkout ",
            "gh repos/owner/dbt/actions/workflows/deploy.yml/runs?branch=main&status=success&per_page=1",
            f"ci-check BASE=passed | has:  {_NO_TOKEN}",
            f"ci-build | has:  {_NO_TOKEN}",
        ]
    )
    assert rest == [
        line
        for environment in ("dev", "live")
        for line in (
            f"checkout {runners.commit}",
            f"download artifact-{runners.commit} of run 1",
            f"ci-deploy ENV={environment} | has: the artifact {_NO_TOKEN}",
        )
    ]


@pytest.mark.parametrize("fails", ["ci-check", "ci-build"])
def test_github_deploys_nothing_that_is_not_checked_and_built(runners: Runners, fails: str) -> None:
    """Not even to dev."""
    ran = runners.github("push", _MAIN, fails=fails)

    assert not ran.succeeded
    assert not [call for call in ran.calls if call.startswith("ci-deploy")]


def test_github_deploys_to_live_only_what_dev_took(runners: Runners) -> None:
    """A deployment that fails ends the pipeline."""
    ran = runners.github("push", _MAIN, fails="ci-deploy")

    assert not ran.succeeded
    assert [call.split(" |")[0] for call in ran.calls if call.startswith("ci-deploy")] == ["ci-deploy ENV=dev"]


def test_github_pull_request_is_checked_and_says_what_it_changes(runners: Runners) -> None:
    """The comments are written by jobs that have the text and the base's files, and alone have a token of GitHub's."""
    ran = runners.github("pull_request", _pull_request("owner/dbt"), only="pull-request.yml")

    assert ran.succeeded, ran.output
    assert sorted(call for call in ran.calls if call != "checkout ") == sorted(
        [
            f"ci-check BASE={'b' * 40} | has:  {_NO_TOKEN}",
            f"ci-diff BASE={'b' * 40} | has:  {_NO_TOKEN}",
            f"ci-try BASE={'b' * 40} PR=7 | has:  {_NO_TOKEN}",
            f"checkout {'b' * 40}",
            "download diff of run ",
            "ci-comment | has: the difference | token: of-the-job",
            f"checkout {'b' * 40}",
            "download slim-ci of run ",
            "ci-try-comment | has: what was tried | token: of-the-job",
        ]
    )


def test_github_pull_request_whose_models_fail_says_so(runners: Runners) -> None:
    """The pipeline is red, and the comment is there all the same."""
    ran = runners.github("pull_request", _pull_request("owner/dbt"), only="pull-request.yml", fails="ci-try")

    assert not ran.succeeded
    assert "ci-try-comment | has: what was tried | token: of-the-job" in ran.calls


def test_github_pull_request_of_a_fork_gets_no_comment_and_is_not_tried(runners: Runners) -> None:
    """It may write nothing and has no token of AWS, and must not fail because of that."""
    ran = runners.github("pull_request", _pull_request("stranger/dbt"), only="pull-request.yml")

    assert ran.succeeded, ran.output
    assert not [call for call in ran.calls if call.startswith(("ci-comment", "ci-try"))]


@pytest.mark.parametrize(("repository", "calls"), [("owner/dbt", ["ci-try-drop PR=7"]), ("stranger/dbt", [])])
def test_github_pull_request_that_is_closed_leaves_nothing(runners: Runners, repository: str, calls: list[str]) -> None:
    """By a job of its own; a fork's has left nothing."""
    ran = runners.github("pull_request", _pull_request(repository, action="closed"), only="pull-request-closed.yml")

    assert ran.succeeded, ran.output
    assert [call.split(" |")[0] for call in ran.calls if not call.startswith("checkout")] == calls


def test_github_starts_by_its_own_rules_what_is_for_closed_pull_requests() -> None:
    """Act looks at no event's type; without `types` GitHub leaves out that a pull request is closed."""
    assert workflow("pull-request.yml")[True] == {"pull_request": None}
    assert workflow("pull-request-closed.yml")[True] == {"pull_request": {"types": ["closed"]}}
    groups = {workflow(name)["concurrency"]["group"] for name in ("pull-request.yml", "pull-request-closed.yml")}
    assert groups == {"pull-request-${{ github.event.pull_request.number }}"}


def test_github_goes_back_to_an_earlier_commit_by_its_artifact(runners: Runners) -> None:
    """The run of main that built it is looked up, and its artifact deployed; what pull requests uploaded is left alone."""
    (runners.folder / "store/artifact-built").mkdir(parents=True)
    (runners.folder / "store/artifact-built/artifact.json").write_text("the earlier artifact\n")
    ran = runners.github("workflow_dispatch", {"inputs": {"environment": "live", "commit": "built"}})

    assert ran.succeeded, ran.output
    assert ran.calls == [
        "gh repos/owner/dbt/actions/artifacts?name=artifact-built",
        "checkout built",
        "download artifact-built of run 4711",
        f"ci-deploy ENV=live | has: the earlier artifact {_NO_TOKEN}",
    ]


def test_github_says_that_an_earlier_commit_has_no_artifact(runners: Runners) -> None:
    """And deploys nothing."""
    ran = runners.github("workflow_dispatch", {"inputs": {"environment": "live", "commit": "never"}})

    assert not ran.succeeded
    assert len(ran.calls) == 1
    # By itself: act may lose the last line of a step that fails.
    assert runners.step("redeploy.yml", "find", COMMIT="never", GITHUB_REPOSITORY="owner/dbt") == (
        1,
        "no artifact of never: none was built on main, or it is older than 90 days\n",
    )


def test_gitlab_merge_is_built_once_and_deployed_to_dev(runners: Runners) -> None:
    """Live waits for a person, who then deploys the artifact of the same pipeline."""
    ran = runners.gitlab(AWS_ID_TOKEN="of-the-job")

    assert ran.succeeded, ran.output
    assert sorted(ran.calls[:2]) == [
        "ci-build | has:  | token: of-the-job",
        "ci-check BASE= | has:  | token: of-the-job",
    ]
    assert ran.calls[2:] == ["ci-deploy ENV=dev | has: the artifact | token: of-the-job"]

    approved = runners.gitlab("live", AWS_ID_TOKEN="of-the-job")
    assert approved.calls == ["ci-deploy ENV=live | has: the artifact | token: of-the-job"]


@pytest.mark.parametrize("fails", ["ci-check", "ci-build"])
def test_gitlab_deploys_nothing_that_is_not_checked_and_built(runners: Runners, fails: str) -> None:
    """Not even to dev."""
    ran = runners.gitlab(fails=fails)

    assert not ran.succeeded
    assert not [call for call in ran.calls if call.startswith("ci-deploy")]


def test_gitlab_merge_request_is_checked_tried_and_says_what_it_changes(runners: Runners) -> None:
    """Nothing is built and nothing deployed."""
    ran = runners.gitlab(**_MERGE_REQUEST)

    assert ran.succeeded, ran.output
    assert sorted(ran.calls) == [
        f"ci-check BASE={'b' * 40} | has:  {_NO_TOKEN}",
        f"ci-comment | has: the difference {_NO_TOKEN}",
        f"ci-diff BASE={'b' * 40} | has:  {_NO_TOKEN}",
        f"ci-try BASE={'b' * 40} PR=7 | has:  {_NO_TOKEN}",
        f"ci-try-comment | has: what was tried {_NO_TOKEN}",
    ]


def test_gitlab_merge_request_whose_models_fail_says_so(runners: Runners) -> None:
    """The pipeline is red, and the comment is there all the same."""
    ran = runners.gitlab(**_MERGE_REQUEST, fails="ci-try")

    assert not ran.succeeded
    assert f"ci-try-comment | has: what was tried {_NO_TOKEN}" in ran.calls


def test_gitlab_merge_request_that_is_closed_leaves_nothing(runners: Runners) -> None:
    """GitLab starts the job that stops the merge request's environment, which nobody waits for before."""
    ran = runners.gitlab("try-drop", **_MERGE_REQUEST, AWS_ID_TOKEN="of-the-job")

    assert ran.calls == ["ci-try-drop PR=7 | has:  | token: of-the-job"], ran.output
    jobs = yaml.safe_load(GITLAB_FILE.read_text())
    assert jobs["try"]["environment"]["on_stop"] == "try-drop"
    assert jobs["try-drop"]["environment"] == {"name": jobs["try"]["environment"]["name"], "action": "stop"}


def test_pipelines_call_targets_that_the_makefile_has() -> None:
    """What they do beside calling them is to hand files on."""
    text = "".join(file.read_text() for file in [*WORKFLOWS.glob("*.yml"), GITLAB_FILE])
    called = set(re.findall(r"(?:run:|-) make ([a-z-]+)", text))
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))

    assert called == {
        *("ci-check", "ci-diff", "ci-comment", "ci-build", "ci-deploy"),
        *("ci-try", "ci-try-comment", "ci-try-drop"),
    }
    assert called <= targets


def test_actions_are_pinned_to_commits_and_are_githubs_own() -> None:
    """A tag can be moved to other code, and that code would deploy."""
    assert used_actions()
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", used) for used in used_actions())


def test_only_jobs_that_deploy_or_try_may_have_a_token_of_aws() -> None:
    """No one that may also write to the pull request, and no workflow gives all of its jobs anything."""
    may = {
        (file.name, job_name)
        for file in WORKFLOWS.glob("*.yml")
        for job_name, job in workflow(file.name)["jobs"].items()
        if "id-token" in job["permissions"]
    }
    assert may == {
        ("deploy.yml", "dev"),
        ("deploy.yml", "live"),
        ("deploy-environment.yml", "deploy"),
        ("redeploy.yml", "deploy"),
        ("pull-request.yml", "try"),
        ("pull-request-closed.yml", "drop"),
    }
    assert [workflow(file.name)["permissions"] for file in WORKFLOWS.glob("*.yml")] == [{}] * 5
    trying = workflow("pull-request.yml")["jobs"]["try"]
    # A job that names an environment has another subject in its token, one that deploys.
    assert (trying["permissions"], "environment" in trying) == ({"contents": "read", "id-token": "write"}, False)


def test_deployments_of_an_environment_are_one_at_a_time_and_never_stopped() -> None:
    """In GitHub by a group of the environment's name, in GitLab by its resource group."""
    deploy = workflow("deploy-environment.yml")["jobs"]["deploy"]
    assert deploy["concurrency"] == {"group": "deploy-${{ inputs.environment }}", "cancel-in-progress": False}
    gitlab = yaml.safe_load(GITLAB_FILE.read_text())
    assert {name: gitlab[name]["resource_group"] for name in ("dev", "live")} == {"dev": "dev", "live": "live"}
    assert gitlab[".deploy"]["interruptible"] is False


def test_environments_that_can_be_gone_back_in_are_those_that_are_deployed() -> None:
    """The list of choices is not forgotten when an environment is added."""
    jobs = workflow("deploy.yml")["jobs"].values()
    deployed = {job["with"]["environment"] for job in jobs if "with" in job}
    inputs = workflow("redeploy.yml")[True]["workflow_dispatch"]["inputs"]

    assert set(inputs["environment"]["options"]) == deployed
