"""
One comment on a pull request or merge request, kept up to date: each push changes it instead of adding another.

It needs nothing but Python, so that a job with the right to write can run it without anything that the pull request brings.
"""

import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# GitHub takes 65,536 characters, GitLab 1,000,000.
_MOST_CHARACTERS = 60_000
_NOTHING_MORE = "The last push has nothing of this any more."
_COMMENTS_ON_A_PAGE = 100
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Of a GitHub job that may write, and of a GitLab job: its own token may not write comments.
_GITHUB_TOKEN = "GITHUB_TOKEN"  # noqa: S105 - the name of a variable
_GITLAB_TOKEN = "GITLAB_COMMENT_TOKEN"  # noqa: S105 - the name of a variable


class CommentError(Exception):
    """The comment could not be written; the message says why."""


def comment(topic: str, text: str) -> str:
    """The Markdown of a comment that shows `text` as it is; a text that is too long for one is cut, and says so."""
    shown = _CONTROL.sub("", text).strip() or "no difference"
    if len(shown) > _MOST_CHARACTERS:
        shown = (
            f"{shown[:_MOST_CHARACTERS]}\n… and {len(shown) - _MOST_CHARACTERS} characters more: see the job's files"
        )
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{_marker(topic)}\n### {topic}\n\n{fence}diff\n{shown}\n{fence}\n"


def markdown_comment(topic: str, text: str) -> str:
    """The Markdown of a comment that says `text`, which is Markdown; one that is too long is cut."""
    return f"{_marker(topic)}\n{text[:_MOST_CHARACTERS]}\n"


def _marker(topic: str) -> str:
    return f"<!-- dbt-on-fargate: {topic} -->"


@dataclass(frozen=True, kw_only=True, slots=True)
class Discussion:
    """The comments of one pull request or merge request, by the interface that GitHub and GitLab have in common."""

    comments_url: str
    comment_url: str
    update_method: str
    headers: Mapping[str, str]

    @classmethod
    def of_this_job(cls, environment: Mapping[str, str]) -> "Discussion | None":
        """The one that a job's variables name; None where the job may not write or belongs to none."""
        number = environment.get("PULL_REQUEST", "")
        if number and environment.get(_GITHUB_TOKEN):
            repository = f"{environment['GITHUB_API_URL']}/repos/{environment['GITHUB_REPOSITORY']}/issues"
            return cls(
                comments_url=f"{repository}/{number}/comments",
                comment_url=f"{repository}/comments",
                update_method="PATCH",
                headers={
                    "Authorization": f"Bearer {environment[_GITHUB_TOKEN]}",
                    "Accept": "application/vnd.github+json",
                },
            )
        number = environment.get("CI_MERGE_REQUEST_IID", "")
        if number and environment.get(_GITLAB_TOKEN):
            project = urllib.parse.quote(environment["CI_MERGE_REQUEST_PROJECT_ID"], safe="")
            notes = f"{environment['CI_API_V4_URL']}/projects/{project}/merge_requests/{number}/notes"
            return cls(
                comments_url=notes,
                comment_url=notes,
                update_method="PUT",
                headers={"PRIVATE-TOKEN": environment[_GITLAB_TOKEN]},
            )
        return None

    def put(self, topic: str, body_text: str, *, adds: bool = True) -> None:
        """Change the comment of `topic` that is there, which `body_text` must be marked as, else write it if `adds`. Raises CommentError."""
        body = {"body": body_text}
        for earlier in self._comments():
            if str(earlier["body"]).startswith(_marker(topic)):
                self._ask(self.update_method, f"{self.comment_url}/{earlier['id']}", body)
                return
        if adds:
            self._ask("POST", self.comments_url, body)

    def _comments(self) -> Iterator[dict[str, Any]]:
        page = 1
        while found := self._ask("GET", f"{self.comments_url}?per_page={_COMMENTS_ON_A_PAGE}&page={page}"):
            yield from found
            page += 1

    def _ask(self, method: str, url: str, body: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        request = urllib.request.Request(  # noqa: S310 - the forge's own address, out of the job's environment
            url,
            method=method,
            data=json.dumps(body).encode() if body else None,
            headers={**self.headers, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
                return json.load(response)
        except (urllib.error.URLError, TimeoutError, ValueError) as error:
            raise CommentError(f"{method} {urllib.parse.urlsplit(url).path}: {error}") from error


def main(arguments: Sequence[str]) -> int:
    """
    `TOPIC FILE`: puts the file's text on the job's pull request, or says why not; returns the exit code.

    A file `….md` is Markdown. An empty one says nothing, but that what an earlier push was told of is gone.
    """
    topic, file = arguments
    discussion = Discussion.of_this_job(os.environ)
    if discussion is None:
        print(f"no comment: this job belongs to no pull request, or has no {_GITHUB_TOKEN} or {_GITLAB_TOKEN}")
        return 0
    try:
        text = Path(file).read_text(encoding="utf-8")
        if not file.endswith(".md"):
            discussion.put(topic, comment(topic, text))
        else:
            discussion.put(topic, markdown_comment(topic, text or _NOTHING_MORE), adds=bool(text))
    except CommentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
