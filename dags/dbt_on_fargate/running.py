"""What the tasks need when they run, under one name; parsing the DAG file needs none of it."""

from . import explain, notice
from .asset_trigger import AssetsTrigger, built
from .containers import Container, Containers, LaunchRefusedError, launch_environment, launch_token
from .record import SECONDS_FOR_THE_END, cleared_record_id, open_record, record_id, summary, went_well
from .triggers import REASON_XCOM, SELECTION_XCOM, ContainerTrigger, NodeTrigger, PauseTrigger, ResultTrigger

__all__ = [
    "REASON_XCOM",
    "SECONDS_FOR_THE_END",
    "SELECTION_XCOM",
    "AssetsTrigger",
    "Container",
    "ContainerTrigger",
    "Containers",
    "LaunchRefusedError",
    "NodeTrigger",
    "PauseTrigger",
    "ResultTrigger",
    "built",
    "cleared_record_id",
    "explain",
    "launch_environment",
    "launch_token",
    "notice",
    "open_record",
    "record_id",
    "summary",
    "went_well",
]
