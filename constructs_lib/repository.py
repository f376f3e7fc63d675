"""Where this repository keeps what the constructs deploy."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
