"""Links from the run task to AWS's pages and to what the run left."""

from typing import ClassVar

from . import addresses
from .compat import BaseOperatorLink


class _Link(BaseOperatorLink):
    """A link whose address the operator knows once its container is launched."""

    name: ClassVar[str] = ""

    def get_link(self, operator: object, *, ti_key: object) -> str:  # noqa: ARG002 -- Airflow's signature
        """The address; empty as long as there is none."""
        found: str = getattr(operator, "link_addresses", {}).get(self.name, "")
        return found


class TaskLink(_Link):
    """The page of the ECS task."""

    name = addresses.TASK


class LogLink(_Link):
    """The log stream of the container."""

    name = addresses.LOG


class ReportLink(_Link):
    """The report of the run."""

    name = addresses.REPORT


class DocsLink(_Link):
    """The dbt docs that the run published."""

    name = addresses.DOCS
