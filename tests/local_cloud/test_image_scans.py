"""Images are scanned as on AWS, with findings that a test has told, and the stock emulator still scans none."""

import json
from typing import Any

from tests.local_cloud.emulators import ACCOUNT, REGION, Aws
from tests.local_cloud.test_emulator_patches import refusal

_FINDING = {"name": "CVE-2026-0001", "severity": "CRITICAL", "uri": "https://example.com/CVE-2026-0001"}


def _image(where: Aws, repository: str, manifest: str) -> dict[str, Any]:
    image: dict[str, Any] = where.client("ecr").put_image(repositoryName=repository, imageManifest=manifest)["image"]
    return {"repositoryName": repository, "imageId": {"imageDigest": image["imageId"]["imageDigest"]}}


def test_scan_finds_what_was_told(aws: Aws, stock: Aws, unique: str) -> None:
    """Once a day for an image; before the first there is nothing to describe, and in what is not named nothing is found."""
    answers = {}
    for where in (aws, stock):
        ecr = where.client("ecr")
        ecr.create_repository(repositoryName=unique)
        image = _image(where, unique, "{}")
        answers[where] = refusal(lambda: ecr.describe_image_scan_findings(**image))  # noqa: B023 - called at once
    ecr, loud, quiet = aws.client("ecr"), _image(aws, unique, "{}"), _image(aws, unique, "{} ")
    assert aws.image_findings is not None
    aws.image_findings.write_text(json.dumps({loud["imageId"]["imageDigest"]: [_FINDING]}))
    for image in (loud, quiet):
        ecr.start_image_scan(**image)
    found = ecr.describe_image_scan_findings(**loud)

    assert list(answers.values()) == ["ScanNotFoundException", "InvalidAction"]
    assert found["imageScanFindings"]["findings"] == [_FINDING]
    assert found["imageScanFindings"]["findingSeverityCounts"] == {"CRITICAL": 1}
    assert ecr.describe_image_scan_findings(**quiet)["imageScanFindings"]["findings"] == []
    assert refusal(lambda: ecr.start_image_scan(**loud)) == "LimitExceededException"
    assert refusal(lambda: ecr.start_image_scan(**{**loud, "repositoryName": "none"})) == "RepositoryNotFoundException"
    missing = {"imageDigest": f"sha256:{'0' * 64}"}
    assert refusal(lambda: ecr.start_image_scan(repositoryName=unique, imageId=missing)) == "ImageNotFoundException"


def test_end_of_a_scan_is_told(aws: Aws, unique: str) -> None:
    """To EventBridge, in the form of AWS's documentation."""
    aws.client("ecr").create_repository(repositoryName=unique)
    image = _image(aws, unique, json.dumps({"config": unique}))
    sqs, events = aws.client("sqs"), aws.client("events")
    queue_url = sqs.create_queue(QueueName=unique)["QueueUrl"]
    pattern = {"source": ["aws.ecr"], "detail": {"repository-name": [unique]}}
    events.put_rule(Name=unique, EventPattern=json.dumps(pattern))
    queue_arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{unique}"
    events.put_targets(Rule=unique, Targets=[{"Id": "1", "Arn": queue_arn}])
    aws.client("ecr").start_image_scan(**image)
    (message,) = sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=10)["Messages"]
    told = json.loads(message["Body"])

    assert (told["detail-type"], told["resources"]) == (
        "ECR Image Scan",
        [f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{unique}"],
    )
    assert told["detail"] == {
        "scan-status": "COMPLETE",
        "repository-name": unique,
        "finding-severity-counts": {},
        "image-digest": image["imageId"]["imageDigest"],
        "image-tags": [],
    }
