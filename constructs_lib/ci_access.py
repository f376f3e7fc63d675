"""Which pipeline may deploy an environment, as the settings say it: by its own identity, without a key."""

import re
from dataclasses import dataclass

from constructs_lib.settings_error import SettingsError

_GITHUB_URL = "https://token.actions.githubusercontent.com"
_GITHUB_AUDIENCE = "sts.amazonaws.com"
_GITLAB_URL = "https://gitlab.com"

# https://docs.github.com/en/actions/concepts/security/openid-connect: an owner or a repository may be followed by '@' and its id.
_GITHUB_REPOSITORY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,38})(@\d+)?/[\w.-]{1,100}(@\d+)?", re.ASCII)
_GITHUB_ENVIRONMENT = re.compile(r"[\w.-]([\w./ -]{0,253}[\w./-])?", re.ASCII)
_GITLAB_PROJECT = re.compile(r"\w[\w.-]*(/\w[\w.-]*)+", re.ASCII)
_BRANCH = re.compile(r"(?!.*(\.\.|//|/$|\.$))\w[\w./+-]{0,243}", re.ASCII)
_URL = re.compile(r"https://([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,63}(/[\w.-]+)*", re.ASCII)
_AUDIENCE = re.compile(r"[\x21-\x29\x2b-\x3e\x40-\x7e]{1,255}")
_PROVIDER_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:oidc-provider/(?P<host>[\w./-]+)", re.ASCII)


def _check(setting: str, value: object, pattern: re.Pattern[str], expected: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise SettingsError(f"{setting} must be {expected}, got {value!r}")


def _check_provider(url: str, audience: str, provider_arn: str | None) -> None:
    _check("url", url, _URL, "an https address of an identity provider, without a port and a '/' at its end")
    _check("audience", audience, _AUDIENCE, "1 to 255 printable characters other than '*' and '?'")
    if provider_arn is None:
        return
    _check("provider_arn", provider_arn, _PROVIDER_ARN, "the ARN of an OIDC provider of IAM")
    if provider_arn.partition(":oidc-provider/")[2] != url.removeprefix("https://"):
        raise SettingsError(f"provider_arn must be of the provider {url!r}, got {provider_arn!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class GitHub:
    """
    The workflows of one GitHub repository, in one of its environments or on one of its branches.

    `repository`: "owner/name", as tokens spell it. Those made, renamed or transferred since July 15, 2026 are spelled with their
    ids, "owner@123456/name@456789"; a name alone never means these. `environment` or `branch`: one of the two. A job that names
    an environment has no branch in its token: who may deploy is then ruled by the environment's protection in GitHub.
    `provider_arn`: the account's provider for `url`, where there is one already: there can be one only. Default: one is made.
    `tries_pull_requests`: whether the repository's pull requests may build what they change in this environment's warehouse.
    """

    repository: str
    environment: str | None = None
    branch: str | None = None
    url: str = _GITHUB_URL
    audience: str = _GITHUB_AUDIENCE
    provider_arn: str | None = None
    tries_pull_requests: bool = False

    def __post_init__(self) -> None:
        """Refuse what would let in more than one repository, or nothing at all."""
        _check(
            "a GitHub repository",
            self.repository,
            _GITHUB_REPOSITORY,
            "one repository such as 'owner/name' or 'owner@123456/name@456789', without wildcards",
        )
        if (self.environment is None) == (self.branch is None):
            raise SettingsError(
                f"GitHub takes either environment or branch, got {self.environment!r} and {self.branch!r}"
            )
        if self.environment is not None:
            _check("a GitHub environment", self.environment, _GITHUB_ENVIRONMENT, "the name of one environment")
        if self.branch is not None:
            _check("branch", self.branch, _BRANCH, "the name of one branch such as 'main', without wildcards")
        _check_provider(self.url, self.audience, self.provider_arn)

    @property
    def subject(self) -> str:
        """
        Whom the token must be of.

        Its source is https://docs.github.com/en/actions/reference/security/oidc#example-subject-claims.
        """
        if self.environment is not None:
            return f"repo:{self.repository}:environment:{self.environment}"
        return f"repo:{self.repository}:ref:refs/heads/{self.branch}"

    @property
    def pull_request_subject(self) -> str:
        """
        Whom the token of a pull request's job is of, if the job names no environment.

        GitHub gives none to pull requests of forks.
        """
        return f"repo:{self.repository}:pull_request"


@dataclass(frozen=True, kw_only=True, slots=True)
class GitLab:
    """
    The pipelines of one GitLab project on one of its branches, which should be protected.

    `project`: its whole path. `url`: the instance; AWS must reach it. `audience`: what the jobs ask their token for.
    Default: the instance's address. `provider_arn`, `tries_pull_requests`: as `GitHub`'s.
    """

    project: str
    branch: str
    url: str = _GITLAB_URL
    audience: str = ""
    provider_arn: str | None = None
    tries_pull_requests: bool = False

    def __post_init__(self) -> None:
        """Refuse what would let in more than one project, or nothing at all."""
        _check("a GitLab project", self.project, _GITLAB_PROJECT, "one project's path such as 'group/name'")
        _check("branch", self.branch, _BRANCH, "the name of one branch such as 'main', without wildcards")
        if not self.audience:
            object.__setattr__(self, "audience", self.url)
        _check_provider(self.url, self.audience, self.provider_arn)

    @property
    def subject(self) -> str:
        """
        Whom the token must be of.

        Its source is https://docs.gitlab.com/ci/secrets/id_token_authentication/#token-payload.
        """
        return f"project_path:{self.project}:ref_type:branch:ref:{self.branch}"

    @property
    def pull_request_subject(self) -> str:
        """
        Whom the token of a merge request's job is of: any branch of the project, for GitLab names the merge request's source branch.

        One of a fork names the fork, also where a member runs it in this project (since GitLab 18.2.2,
        https://gitlab.com/gitlab-org/gitlab/-/issues/548165).
        """
        return f"project_path:{self.project}:ref_type:branch:ref:*"


Pipeline = GitHub | GitLab
