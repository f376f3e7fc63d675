"""Starts the stock emulator with our patches; runs in the emulator's own environment."""

from local_cloud.emulator import patches
from local_cloud.emulator.patches.stock import app


def main() -> None:
    """Serve until a signal ends the process."""
    patches.apply_all()
    app.main()


if __name__ == "__main__":
    main()
