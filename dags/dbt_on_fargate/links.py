"""Links from the run task to AWS's pages and to what the run left."""

from typing import ClassVar
from urllib.parse import quote, quote_plus

from .compat import BaseOperatorLink
from .deployment import Deployment

_CONSOLE_DOMAINS = {"aws-cn": "amazonaws.cn", "aws-us-gov": "amazonaws-us-gov.com"}


def links(deployment: Deployment, *, task_id: str, record: str, attempt: int) -> dict[str, str]:
    """The addresses by the names of the links; `task_id` is ECS's."""
    partition = deployment.cluster_arn.split(":")[1]
    region = deployment.region
    console = f"https://{region}.console.{_CONSOLE_DOMAINS.get(partition, 'aws.amazon.com')}"
    cluster = quote(deployment.cluster_arn.rpartition("/")[2], safe="")
    stream = f"{deployment.log_stream_prefix}/{deployment.container_name}/{task_id}"

    def in_bucket(name: str) -> str:
        key = quote_plus(f"{deployment.project_prefix}{name}")
        return f"{console}/s3/object/{deployment.bucket_name}?region={region}&prefix={key}"

    return {
        TaskLink.name: f"{console}/ecs/v2/clusters/{cluster}/tasks/{task_id}?region={region}",
        LogLink.name: f"{console}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/"
        f"{_in_fragment(deployment.log_group_name)}/log-events/{_in_fragment(stream)}",
        ReportLink.name: in_bucket(f"runs/{record}/attempts/{attempt:04d}/report.html"),
        DocsLink.name: in_bucket(f"docs/{record}-{attempt:04d}/index.html"),
    }


def _in_fragment(name: str) -> str:
    # CloudWatch's pages want names encoded twice, with a dollar sign for the per cent sign.
    return quote(quote(name, safe=""), safe="").replace("%", "$")


class _Link(BaseOperatorLink):
    """A link whose address the operator knows once its container is launched."""

    name: ClassVar[str] = ""

    def get_link(self, operator: object, *, ti_key: object) -> str:  # noqa: ARG002 -- Airflow's signature
        """The address; empty as long as there is none."""
        found: str = getattr(operator, "link_addresses", {}).get(self.name, "")
        return found


class TaskLink(_Link):
    """The page of the ECS task."""

    name = "ECS task"


class LogLink(_Link):
    """The log stream of the container."""

    name = "Container log"


class ReportLink(_Link):
    """The report of the run."""

    name = "Run report"


class DocsLink(_Link):
    """The dbt docs that the run published."""

    name = "dbt docs"
