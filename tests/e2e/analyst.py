"""A person at a terminal, with a login of their own and the commands of the Makefile."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from local_cloud.cdk_cli import REPOSITORY_ROOT
from local_cloud.run_records import Attempt

if TYPE_CHECKING:
    from tests.e2e.conftest import Story


class Person:
    """
    A person at a terminal of this repository, logged in as the role `name`.

    It has the permissions that `page`, a path below docs, lists, and no others.
    """

    def __init__(self, story: "Story", *, name: str, page: str) -> None:
        self.story = story
        iam = story.cloud.account.client("iam")
        account = story.choice.settings.account
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}}
        iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )
        docs = (REPOSITORY_ROOT / "docs" / page).read_text(encoding="utf-8")
        for number, policy in enumerate(re.findall(r"```json\n(.*?)```", docs, re.DOTALL)):
            iam.put_role_policy(RoleName=name, PolicyName=f"of-the-docs-{number}", PolicyDocument=policy)
        given = story.cloud.account.client("sts").assume_role(
            RoleArn=f"arn:aws:iam::{account}:role/{name}", RoleSessionName="ana"
        )["Credentials"]
        self.environment = {
            **story.cloud.client_environment(),
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
            # The authority that the warehouse's certificate is of.
            "SSL_CERT_FILE": str(story.cloud.warehouse.ca_file),
            # Nobody looks at a browser here.
            "BROWSER": "true",
        }

    def start(self, target: str, **variables: object) -> "subprocess.Popen[str]":
        """Begin a command about the sample project in the deployed environment."""
        named = {"ENV": self.story.choice.settings.environment, "PROJECT": self.story.choice.settings.project}
        return start_make(REPOSITORY_ROOT, self.environment, target, {**named, **variables})

    def make(self, target: str, **variables: object) -> tuple[int, str]:
        """The command's exit code and what it wrote."""
        return ended(self.start(target, **variables))


class Analyst(Person):
    """A person logged in as the role that the settings name."""

    def __init__(self, story: "Story") -> None:
        super().__init__(story, name="analyst", page="analyst.md")

    def last_attempt(self, output: str) -> Attempt:
        """The last attempt of the run that a command says it has started or repeated."""
        (run_id, *_) = re.findall(r"^run (\S+), container", output, re.MULTILINE)
        attempt = self.story.deployed.records.attempt(run_id)
        assert attempt is not None
        assert attempt.end is not None
        return attempt


def start_make(
    folder: Path, environment: Mapping[str, str], target: str, variables: Mapping[str, object]
) -> "subprocess.Popen[str]":
    """Begin `make target NAME=value …` in a checkout."""
    return subprocess.Popen(
        # In the background of a shell Ctrl-C would be ignored.
        ["env", "--default-signal=INT", "make", target, *(f"{name}={value}" for name, value in variables.items())],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(command: "subprocess.Popen[str]") -> tuple[int, str]:
    """Its exit code, which make only writes, and its output."""
    output, _ = command.communicate(timeout=600)
    told = re.search(r"^make: \*\*\* .* Error (\d+)$", output, re.MULTILINE)
    return (int(told[1]) if told else command.returncode), output
