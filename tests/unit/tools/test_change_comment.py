"""A pull request has one comment of a topic, which says what is so now."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.unit.tools.web_server import served
from tools.change_comment import comment, main

_FORGES = {
    "github": {
        "PULL_REQUEST": "7",
        "GITHUB_TOKEN": "secret",
        "GITHUB_REPOSITORY": "owner/dbt",
        "GITHUB_API_URL": "{url}/api",
    },
    "gitlab": {
        "CI_MERGE_REQUEST_IID": "7",
        "GITLAB_COMMENT_TOKEN": "secret",
        "CI_MERGE_REQUEST_PROJECT_ID": "12",
        "CI_API_V4_URL": "{url}/api",
    },
}
_LISTS = {
    "/api/repos/owner/dbt/issues/7/comments": "/api/repos/owner/dbt/issues/comments",
    "/api/projects/12/merge_requests/7/notes": "/api/projects/12/merge_requests/7/notes",
}
_UPDATE_METHODS = {"github": "PATCH", "gitlab": "PUT"}


class _Forge(BaseHTTPRequestHandler):
    """The comments of one pull request, in pages, as GitHub and GitLab keep them."""

    comments: dict[int, str]
    methods: list[str]

    def _answer(self, status: int, content: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def _handle(self) -> None:
        self.methods.append(self.command)
        url = urlsplit(self.path)
        size = int(self.headers.get("Content-Length") or 0)
        sent = json.loads(self.rfile.read(size)) if size else {}
        if "secret" not in (self.headers.get("Authorization", "") + self.headers.get("PRIVATE-TOKEN", "")):
            self._answer(401, {})
        elif self.command == "GET":
            query = parse_qs(url.query)
            first = (int(query["page"][0]) - 1) * int(query["per_page"][0])
            listed = [{"id": number, "body": body} for number, body in sorted(self.comments.items())]
            self._answer(200, listed[first : first + int(query["per_page"][0])] if url.path in _LISTS else None)
        elif self.command == "POST" and url.path in _LISTS:
            self.comments[len(self.comments) + 1] = sent["body"]
            self._answer(201, {})
        else:
            folder, _, number = url.path.rpartition("/")
            known = folder in _LISTS.values() and int(number) in self.comments
            if known:
                self.comments[int(number)] = sent["body"]
            self._answer(200 if known else 404, {})

    do_GET = do_POST = do_PATCH = do_PUT = _handle  # noqa: N815 - the base class names them so

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Stay quiet."""


@pytest.fixture(params=["github", "gitlab"])
def forge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Forge]]:
    """GitHub, then GitLab, with what a job there has in its environment."""
    handler = type("Handler", (_Forge,), {"comments": {}, "methods": []})
    for names in _FORGES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    with served(handler) as url:
        for name, value in _FORGES[request.param].items():
            monkeypatch.setenv(name, value.format(url=url))
        yield handler


def _file(tmp_path: Path, text: str, name: str = "diff.txt") -> str:
    file = tmp_path / name
    file.write_text(text)
    return str(file)


def test_second_push_changes_the_comment_of_the_first(forge: type[_Forge], tmp_path: Path) -> None:
    """However many comments lie between; those of other topics, and of people, stay."""
    forge.comments.update({number: f"of a person, {number}" for number in range(1, 131)})
    assert main(["Infrastructure", _file(tmp_path, "[+] a role")]) == 0
    assert main(["Models", _file(tmp_path, "orders")]) == 0
    assert main(["Infrastructure", _file(tmp_path, "[-] a role")]) == 0

    assert len(forge.comments) == 132
    assert forge.comments[131] == comment("Infrastructure", "[-] a role")
    assert forge.comments[132] == comment("Models", "orders")
    assert forge.methods[-1] in _UPDATE_METHODS.values()


def test_markdown_is_put_as_it_is_and_goes_when_there_is_nothing_more_to_say(
    forge: type[_Forge], tmp_path: Path
) -> None:
    """A pull request of which nothing is to be said gets no comment; one that was told something is told that it is gone."""
    assert main(["Models", _file(tmp_path, "", "slim-ci.md")]) == 0
    assert forge.comments == {}
    assert main(["Models", _file(tmp_path, "### orders\n", "slim-ci.md")]) == 0
    assert forge.comments == {1: "<!-- dbt-on-fargate: Models -->\n### orders\n\n"}
    assert main(["Models", _file(tmp_path, "", "slim-ci.md")]) == 0
    assert forge.comments == {1: "<!-- dbt-on-fargate: Models -->\nThe last push has nothing of this any more.\n"}


def test_comment_that_is_refused_is_an_error_without_the_token(
    forge: type[_Forge], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The job fails in one line."""
    for name in ("GITHUB_TOKEN", "GITLAB_COMMENT_TOKEN"):
        monkeypatch.setenv(name, "wrong-token")

    assert main(["Infrastructure", _file(tmp_path, "x")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: GET /api/")
    assert "401" in said
    assert "wrong-token" not in said


def test_job_without_the_right_to_write_says_so_and_passes(
    forge: type[_Forge], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fork's pull request gets no token; the difference is in the job's files then."""
    for names in _FORGES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)

    assert main(["Infrastructure", _file(tmp_path, "x")]) == 0
    assert "no comment: this job belongs to no pull request" in capsys.readouterr().out
    assert forge.methods == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "\n```diff\nno difference\n```\n"),
        ("\x1b[32m[+]\x1b[0m role", "\n```diff\n[+] role\n```\n"),
        ("a ``` fence", "\n````diff\na ``` fence\n````\n"),
    ],
    ids=["nothing", "colours", "fence"],
)
def test_text_is_shown_as_it_is(text: str, shown: str) -> None:
    """Without a terminal's colours, and in a fence that it cannot leave."""
    assert comment("Infrastructure", text).endswith(shown)


def test_text_that_is_too_long_is_cut_and_says_so() -> None:
    """GitHub refuses comments of more than 65,536 characters."""
    long: Any = comment("Infrastructure", "x" * 70_000)

    assert len(long) < 65_536
    assert "and 10000 characters more" in long
