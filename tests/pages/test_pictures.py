"""The pictures of the pages in docs/: taken where PICTURES names a folder, else only tried in a temporary one."""

import os
from pathlib import Path

import pytest
from conftest import REPOSITORY, Open

_MOST_BYTES = 300_000


@pytest.mark.parametrize(
    ("name", "address", "theme", "height"),
    [
        ("report", "reports/failed.html", "light", 1050),
        ("portal", "index.html", "light", 760),
        ("project", "project.html?name=bookshop", "light", 1000),
    ],
)
def test_pictures_show_the_pages_as_they_are(
    made: Path, site: str, open_page: Open, tmp_path: Path, name: str, address: str, theme: str, height: int
) -> None:
    """Small enough for a repository."""
    where = (made / address).as_uri() if address.startswith("reports/") else site + address
    page = open_page(where, theme=theme, height=height).page
    page.wait_for_load_state("networkidle")
    folder = REPOSITORY / os.environ["PICTURES"] if os.environ.get("PICTURES") else tmp_path
    picture = folder / f"page-{name}.png"
    page.screenshot(path=picture)

    assert 20_000 < picture.stat().st_size < _MOST_BYTES
