"""Where AWS's pages show a run and what it left."""

from urllib.parse import quote, quote_plus

from .deployment import Deployment

TASK = "ECS task"
LOG = "Container log"
REPORT = "Run report"
DOCS = "dbt docs"
_CONSOLE_DOMAINS = {"aws-cn": "amazonaws.cn", "aws-us-gov": "amazonaws-us-gov.com"}


def addresses(deployment: Deployment, *, task_id: str, record: str, attempt: int) -> dict[str, str]:
    """The addresses by what they show; `task_id` is ECS's."""
    partition = deployment.cluster_arn.split(":")[1]
    region = deployment.region
    console = f"https://{region}.console.{_CONSOLE_DOMAINS.get(partition, 'aws.amazon.com')}"
    cluster = quote(deployment.cluster_arn.rpartition("/")[2], safe="")
    stream = f"{deployment.log_stream_prefix}/{deployment.container_name}/{task_id}"

    def in_bucket(name: str) -> str:
        key = quote_plus(f"{deployment.project_prefix}{name}")
        return f"{console}/s3/object/{deployment.bucket_name}?region={region}&prefix={key}"

    return {
        TASK: f"{console}/ecs/v2/clusters/{cluster}/tasks/{task_id}?region={region}",
        LOG: f"{console}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/"
        f"{_in_fragment(deployment.log_group_name)}/log-events/{_in_fragment(stream)}",
        REPORT: in_bucket(f"runs/{record}/attempts/{attempt:04d}/report.html"),
        DOCS: in_bucket(f"docs/{record}-{attempt:04d}/index.html"),
    }


def _in_fragment(name: str) -> str:
    # CloudWatch's pages want names encoded twice, with a dollar sign for the per cent sign.
    return quote(quote(name, safe=""), safe="").replace("%", "$")
