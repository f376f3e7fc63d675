"""Looks for a secret in everything that the product writes or shows."""

import base64
import gzip
import json
import subprocess
import tarfile
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.conftest import Story


def spellings(secret: str) -> set[bytes]:
    """How a secret may be written: as it is, escaped for JSON, Python, URLs and HTML, in base64 at each of the three alignments."""
    plain = secret.encode()
    found = {
        plain,
        json.dumps(secret)[1:-1].encode(),
        json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
        repr(secret)[1:-1].encode(),
        urllib.parse.quote(secret).encode(),
        secret.replace("&", "&amp;").replace("'", "&#x27;").replace('"', "&quot;").encode(),
        secret.replace("&", "&amp;").replace("'", "&#39;").replace('"', "&#34;").encode(),
    }
    for offset in range(3):
        # The first and last characters of each alignment depend on the neighbours.
        found.add(base64.b64encode(b"x" * offset + plain)[4:-4])
    return found


def places_that_hold(words: Sequence[str], story: "Story") -> dict[str, list[str]]:
    """
    Where each word is, as `<kind>: <place>`; kinds: s3, log, template, image, override, airflow, file.

    Everything is read once for all words: the images alone are several hundred megabytes.
    """
    wanted = {word: spellings(word) for word in words}
    found: dict[str, set[str]] = {word: set() for word in words}
    for place, data in _everything(story):
        for word, ways in wanted.items():
            if any(way in data for way in ways):
                found[word].add(place)
    return {word: sorted(places) for word, places in found.items()}


def _everything(story: "Story") -> Iterator[tuple[str, bytes]]:
    yield from _objects(story)
    yield from _logs(story)
    yield from _templates(story)
    yield from _task_overrides(story)
    yield from _image_layers(story)
    yield from _local_files(story)


def _objects(story: "Story") -> Iterator[tuple[str, bytes]]:
    s3 = story.cloud.account.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"]):
            for item in page.get("Contents", []):
                body = s3.get_object(Bucket=bucket["Name"], Key=item["Key"])["Body"].read()
                yield f"s3: {bucket['Name']}/{item['Key']}", gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


def _logs(story: "Story") -> Iterator[tuple[str, bytes]]:
    logs = story.cloud.account.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        name = group["logGroupName"]
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=name):
            for event in page["events"]:
                yield f"log: {name}", event["message"].encode()


def _templates(story: "Story") -> Iterator[tuple[str, bytes]]:
    for file in _files(story.cloud.folder / "cdk.out"):
        yield f"template: {file}", file.read_bytes()
    cloudformation = story.cloud.account.client("cloudformation")
    for stack in cloudformation.describe_stacks()["Stacks"]:
        body = cloudformation.get_template(StackName=stack["StackName"])["TemplateBody"]
        yield f"template: {stack['StackName']}", json.dumps([stack, body], default=str, ensure_ascii=False).encode()


def _task_overrides(story: "Story") -> Iterator[tuple[str, bytes]]:
    ecs = story.cloud.account.client("ecs")
    cluster = story.deployed.deployment["cluster_arn"]
    tasks = [
        arn
        for status in ("RUNNING", "STOPPED")
        for arn in ecs.list_tasks(cluster=cluster, desiredStatus=status)["taskArns"]
    ]
    for task in ecs.describe_tasks(cluster=cluster, tasks=tasks)["tasks"]:
        yield f"override: {task['taskArn']}", json.dumps(task, default=str, ensure_ascii=False).encode()
    for arn in ecs.list_task_definitions()["taskDefinitionArns"]:
        definition = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
        yield f"override: {arn}", json.dumps(definition, default=str, ensure_ascii=False).encode()


def _image_layers(story: "Story") -> Iterator[tuple[str, bytes]]:
    """Every layer of every image in the registry, and the images' configurations."""
    engine = story.cloud.engine
    ecr = story.cloud.account.client("ecr")
    images = [
        f"{repository['repositoryUri']}:{image['imageTag']}"
        for repository in ecr.describe_repositories()["repositories"]
        for image in ecr.list_images(repositoryName=repository["repositoryName"])["imageIds"]
        if "imageTag" in image
    ]
    for image in images:
        saved = subprocess.Popen(
            [engine.executable, "save", "--format", "oci-archive", image],
            env=engine.environment,
            stdout=subprocess.PIPE,
        )
        with saved as process, tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for blob in archive:
                content = archive.extractfile(blob)
                if content is not None:
                    yield from _blob(image, blob.name, content)


def _blob(image: str, name: str, content: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    head = content.read()
    data = gzip.decompress(head) if head[:2] == b"\x1f\x8b" else head
    yield f"image: {image} {name}", data


def _local_files(story: "Story") -> Iterator[tuple[str, bytes]]:
    """Airflow's whole folder (database with XComs, logs, DAG files) and all logs of the local cloud."""
    for file in _files(story.cloud.folder / "airflow"):
        yield f"airflow: {file}", file.read_bytes()
    for file in _files(story.cloud.folder / "logs"):
        yield f"file: {file}", file.read_bytes()


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
