"""
Scans of images, with findings that are told: no database of vulnerabilities is here to find any in.

Nothing is scanned when it is pushed, so that the first scan by hand is the only one that the day allows:
https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-basic.html
"""

import json
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from local_cloud.emulator.patches.events import tell
from local_cloud.emulator.patches.stock import (
    Json,
    Response,
    StockEmulatorChangedError,
    ecr,
    refusal,
    replace,
    responses,
)

_FINDINGS_VARIABLE = "LOCAL_CLOUD_IMAGE_FINDINGS"
_SECONDS_OF_A_DAY = 24 * 60 * 60
# By account, region, repository and digest.
_scans: dict[tuple[str, str, str, str], Json] = {}


def apply() -> None:
    """Let ECR start a scan, tell EventBridge of its end, and describe what it found; the stock emulator knows neither call."""
    calls = {"StartImageScan": _start, "DescribeImageScanFindings": _describe}
    for name in ("_start_image_scan", "_describe_image_scan_findings"):
        if hasattr(ecr, name):
            raise StockEmulatorChangedError(f"the emulator has ecr.{name} of its own now")

    def handle(stock: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
        async def handle_request(
            method: str, path: str, headers: dict[str, str], body: bytes, query_params: Json
        ) -> Response:
            call = calls.get(headers.get("x-amz-target", "").rpartition(".")[2])
            return (
                _of_image(json.loads(body), call)
                if call is not None
                else await stock(method, path, headers, body, query_params)
            )

        return handle_request

    replace(ecr, "handle_request", "method", "path", "headers", "body", "query_params", by=handle)


def _of_image(data: Json, call: Callable[[str, Json], Response]) -> Response:
    name, image_id = data["repositoryName"], data["imageId"]
    if name not in ecr._repositories:
        return refusal("RepositoryNotFoundException", f"The repository with name '{name}' does not exist")
    image = ecr._find_image(name, image_id)
    if image is None:
        return refusal("ImageNotFoundException", f"The image with imageId {image_id} does not exist within '{name}'")
    return call(name, image)


def _start(repository: str, image: Json) -> Response:
    key = _key(repository, image)
    if key in _scans and time.time() - _scans[key]["at"] < _SECONDS_OF_A_DAY:
        return refusal("LimitExceededException", "The scan quota per image has been exceeded. Wait and try again.")
    found = json.loads(Path(os.environ[_FINDINGS_VARIABLE]).read_text(encoding="utf-8")).get(image["imageDigest"], [])
    _scans[key] = {"at": time.time(), "found": found}
    # https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html, "Event for a completed image scan".
    tell(
        "aws.ecr",
        "ECR Image Scan",
        json.dumps(
            {
                "scan-status": "COMPLETE",
                "repository-name": repository,
                "finding-severity-counts": _counts(found),
                "image-digest": image["imageDigest"],
                "image-tags": image.get("imageTags", []),
            }
        ),
        f"arn:aws:ecr:{responses.get_region()}:{responses.get_account_id()}:repository/{repository}",
    )
    return _answer(repository, image, {"imageScanStatus": {"status": "IN_PROGRESS"}})


def _describe(repository: str, image: Json) -> Response:
    scan = _scans.get(_key(repository, image))
    if scan is None:
        return refusal(
            "ScanNotFoundException",
            f"Image scan does not exist for the image with '{image['imageDigest']}' in the repository with name '{repository}'",
        )
    return _answer(
        repository,
        image,
        {
            "imageScanStatus": {"status": "COMPLETE", "description": "The scan was completed successfully."},
            "imageScanFindings": {
                "imageScanCompletedAt": scan["at"],
                "vulnerabilitySourceUpdatedAt": scan["at"],
                "findingSeverityCounts": _counts(scan["found"]),
                "findings": scan["found"],
            },
        },
    )


def _counts(found: list[Json]) -> dict[str, int]:
    return dict(Counter(finding["severity"] for finding in found))


def _key(repository: str, image: Json) -> tuple[str, str, str, str]:
    return responses.get_account_id(), responses.get_region(), repository, image["imageDigest"]


def _answer(repository: str, image: Json, scan: Json) -> Response:
    image_id = {key: image["imageId"][key] for key in ("imageDigest", "imageTag") if key in image["imageId"]}
    answer: Response = responses.json_response(
        {"registryId": responses.get_account_id(), "repositoryName": repository, "imageId": image_id, **scan}
    )
    return answer
