"""Which version is the one before."""

import pytest

from tools.rollback import way_back


@pytest.mark.parametrize(
    ("deployed", "way"),
    [
        ("A", "A"),
        ("ABC", "ABC"),
        # Another size, or new settings: a revision with the same image.
        ("AABBB", "AB"),
        # Gone back once, then twice.
        ("ABCB", "AB"),
        ("ABCBA", "A"),
        # A revert that was deployed as a commit of its own: what it reverted is no way back.
        ("ABAC", "AC"),
        ("ABCBD", "ABD"),
        ("", ""),
    ],
)
def test_what_was_gone_back_from_is_no_way_back(deployed: str, way: str) -> None:
    """A deployment of what was there before goes back to it, whoever did it."""
    assert way_back(deployed) == list(way)
