"""What a container writes, as events in its CloudWatch log stream."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from local_cloud.emulator.patches.stock import cloudwatch_logs, ecs_metadata, responses

_CHANNELS: tuple[Mapping[str, bool], ...] = (
    {"stdout": True, "stderr": False},
    {"stdout": False, "stderr": True},
)
# Podman calls its format json-file when it is asked in Docker's words, so only the name tells.
_PODMANS_LOG = "ctr.log"
_SECONDS_BETWEEN_READS = 0.1


def describe_in_metadata(token: str, configuration: Mapping[str, Any] | None) -> None:
    """Tell the container by its metadata endpoint where its log goes; the stock endpoint does not."""
    if configuration is None:
        return
    with ecs_metadata._LOCK:
        container = ecs_metadata._TOKEN_TO_CONTAINER[token]
        container["LogDriver"] = "awslogs"
        container["LogOptions"] = {
            "awslogs-group": configuration["group"],
            "awslogs-region": configuration["region"] or responses.get_region(),
            "awslogs-stream": configuration["stream"],
        }


class Forwarder:
    """
    Brings each line of a container into its log stream.

    The stock emulator loses what is written in the last moments of a container, and cuts lines at the borders of network packets.
    """

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        self._group = configuration["group"]
        self._stream = configuration["stream"]
        self._region = configuration["region"] or responses.get_region()
        self._account = responses.get_account_id()
        self._follower: _FileFollower | _ApiFollower | None = None

    def follow(self, container: Any) -> None:  # noqa: ANN401 -- the Docker library has no types
        """Send lines while the container runs."""
        file = Path(container.attrs["LogPath"])
        if file.name == _PODMANS_LOG:
            self._follower = _FileFollower(file, self._send)
        else:
            self._follower = _ApiFollower(container, self._send)

    def finish(self) -> None:
        """Send what is still missing of a container that has ended."""
        if self._follower is not None:
            self._follower.finish()

    def _send(self, lines: Sequence[bytes]) -> None:
        if not lines:
            return
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line.decode(errors="replace").rstrip("\r")} for line in lines]
        with responses.request_scope(self._account, self._region):
            cloudwatch_logs._put_log_events(
                {"logGroupName": self._group, "logStreamName": self._stream, "logEvents": events}
            )


class _FileFollower:
    """
    Reads the file in which podman's monitor keeps a log; podman's own service loses lines of it while it grows.

    A line of the file is `<time> stdout|stderr F|P <text>`; after a P the same stream's next line goes on with the text.
    """

    def __init__(self, file: Path, send: Callable[[Sequence[bytes]], None]) -> None:
        self._file = file
        self._send = send
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Return when all is sent; the monitor has written all before anybody hears of the container's end."""
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        with self._file.open("rb") as file:
            written = b""
            begun: dict[bytes, bytes] = {}
            ended = False
            while not ended:
                # Looked at before the file, so that what comes last is read.
                ended = self._ended.wait(_SECONDS_BETWEEN_READS)
                *entries, written = (written + file.read()).split(b"\n")
                self._send(list(_lines(entries, begun)))
            self._send(list(begun.values()))


def _lines(entries: Iterable[bytes], begun: dict[bytes, bytes]) -> Iterator[bytes]:
    """The lines that `entries` of podman's file complete; what they leave `begun` is kept by stream."""
    for entry in entries:
        _time, stream, kind, text = entry.split(b" ", 3)
        if kind == b"P":
            begun[stream] = begun.get(stream, b"") + text
        else:
            yield begun.pop(stream, b"") + text


class _ApiFollower:
    """Reads a log from Docker's daemon, one request for each stream."""

    def __init__(self, container: Any, send: Callable[[Sequence[bytes]], None]) -> None:  # noqa: ANN401 -- the Docker library has no types
        self._container = container
        self._send = send
        self._sent = [0 for _ in _CHANNELS]
        self._threads = [
            threading.Thread(target=self._follow, args=(channel,), daemon=True) for channel in range(len(_CHANNELS))
        ]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Return when all is sent, also what came after the daemon had ended its answer."""
        for thread in self._threads:
            thread.join()
        for channel, selection in enumerate(_CHANNELS):
            lines = self._container.logs(**selection).splitlines()
            self._send(lines[self._sent[channel] :])

    def _follow(self, channel: int) -> None:
        unfinished = b""
        for chunk in self._container.logs(stream=True, follow=True, **_CHANNELS[channel]):
            *lines, unfinished = (unfinished + chunk).split(b"\n")
            self._send(lines)
            self._sent[channel] += len(lines)
