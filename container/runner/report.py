"""The report of one attempt: a page that opens anywhere, made whatever the ending."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from runner.log import SCRUBBER

TEMPLATE = Path(__file__).with_name("report_page.html")
"""Built from pages/ by `make pages`: script and style stand in it, and its own policy lets nothing else run."""
_PLACE = re.compile(r"%%(TITLE|HEADLINE|DATA)%%")


def report_page(data: Mapping[str, Any]) -> bytes:
    """Return the page over `data`, which `page_data` makes; no text in it becomes markup."""
    title = f"{data['project']} on {data['environment']}: {data['outcome']}"
    texts = {"TITLE": escape(title), "HEADLINE": escape(data["headline"]), "DATA": _in_script(data)}
    # All at once: what is filled in may hold the name of another place.
    parts = _PLACE.split(TEMPLATE.read_text(encoding="utf-8"))
    parts[1::2] = [texts[name] for name in parts[1::2]]
    return "".join(parts).encode(errors="replace")


def _in_script(data: Mapping[str, Any]) -> str:
    # Scrubbed before "<" is written otherwise: a secret with one in it would not be recognised after.
    text = SCRUBBER.scrub(json.dumps(data, separators=(",", ":")))
    # ASCII, so without U+2028; without "<" nothing ends the element or begins a comment in it.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
