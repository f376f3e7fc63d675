"""What a container writes, as events in its CloudWatch log stream."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from local_cloud.emulator.patches.stock import cloudwatch_logs, ecs_metadata, responses

_CHANNELS: tuple[Mapping[str, bool], ...] = (
    {"stdout": True, "stderr": False},
    {"stdout": False, "stderr": True},
)


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
        self._sent = [0 for _ in _CHANNELS]
        self._threads: list[threading.Thread] = []

    def follow(self, container: Any) -> None:  # noqa: ANN401 -- the Docker library has no types
        """Send lines while the container runs."""
        for channel in range(len(_CHANNELS)):
            thread = threading.Thread(target=self._follow, args=(container, channel), daemon=True)
            thread.start()
            self._threads.append(thread)

    def finish(self, container: Any) -> None:  # noqa: ANN401 -- the Docker library has no types
        """Send what is still missing of a container that has ended."""
        for thread in self._threads:
            thread.join()
        # An engine's stream may end before the last lines of a short run.
        for channel, selection in enumerate(_CHANNELS):
            lines = container.logs(**selection).splitlines()
            self._send(lines[self._sent[channel] :])

    def _follow(self, container: Any, channel: int) -> None:  # noqa: ANN401 -- the Docker library has no types
        unfinished = b""
        for chunk in container.logs(stream=True, follow=True, **_CHANNELS[channel]):
            *lines, unfinished = (unfinished + chunk).split(b"\n")
            self._send(lines)
            self._sent[channel] += len(lines)

    def _send(self, lines: list[bytes]) -> None:
        if not lines:
            return
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line.decode(errors="replace").rstrip("\r")} for line in lines]
        with responses.request_scope(self._account, self._region):
            cloudwatch_logs._put_log_events(
                {"logGroupName": self._group, "logStreamName": self._stream, "logEvents": events}
            )
