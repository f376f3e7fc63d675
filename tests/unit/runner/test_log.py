"""Log lines and the scrubbing of secrets."""

import io
import json
import logging
import urllib.parse
from collections.abc import Iterator

import pytest

from runner import log
from runner.log import SCRUBBER, Scrubber

PASSWORD = "can'ary\"&$\n\\ü€pass"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The stream that the log is written to."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    log.configure(stream)
    yield stream
    root.handlers, root.level = handlers, level


@pytest.mark.parametrize(
    "text",
    [
        PASSWORD,
        f"password={PASSWORD!r}",
        json.dumps({"password": PASSWORD}),
        json.dumps({"password": PASSWORD}, ensure_ascii=False),
        urllib.parse.quote(PASSWORD, safe=""),
        urllib.parse.quote_plus(PASSWORD),
    ],
)
def test_scrubs_a_secret_in_every_form_that_it_is_written_in(text: str) -> None:
    """Plain, as a Python or JSON text, and as part of a URL."""
    scrubber = Scrubber()
    scrubber.hide(PASSWORD)

    assert "ary" not in scrubber.scrub(text)


def test_scrubs_bytes() -> None:
    """Files are scrubbed before they leave the container."""
    scrubber = Scrubber()
    scrubber.hide("pässword")

    assert scrubber.scrub_bytes("a pässword b".encode()) == b"a ***** b"


def test_leaves_texts_alone_where_a_secret_is_too_short_to_tell() -> None:
    """A secret of three letters is part of ordinary words."""
    scrubber = Scrubber()
    scrubber.hide("abc")

    assert scrubber.scrub("abcdef") == "abcdef"


def test_writes_one_json_object_a_line(lines: io.StringIO) -> None:
    """A message with a line break stays one line, and `extra` becomes fields."""
    logging.getLogger("runner").info("a\nb", extra={"step": "build"})

    written = json.loads(lines.getvalue())
    assert (written["level"], written["message"], written["step"]) == ("info", "a\nb", "build")


def test_writes_each_line_once_though_a_library_adds_a_handler(lines: io.StringIO) -> None:
    """A dependency of dbt adds a handler to the root logger; ours does not pass its lines on to it."""
    other = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(other))
    logging.getLogger("runner").warning("once")

    assert (lines.getvalue().count("once"), other.getvalue()) == (1, "")


def test_scrubs_messages_fields_and_tracebacks(lines: io.StringIO) -> None:
    """Whatever part of a line a secret is in, it does not get out."""
    SCRUBBER.hide("canary-of-this-test")
    try:
        raise ValueError("canary-of-this-test")  # noqa: TRY301 - a traceback is wanted
    except ValueError:
        logging.getLogger("runner").exception("canary-of-this-test", extra={"field": "canary-of-this-test"})

    assert "canary" not in lines.getvalue().replace("*****-of", "")
