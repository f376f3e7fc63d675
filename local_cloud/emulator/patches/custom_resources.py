"""CDK's own custom resources for S3, done natively instead of in their Lambda functions."""

import io
import json
import mimetypes
import zipfile
from typing import Any

from botocore.exceptions import ClientError

from local_cloud.emulator.patches.clients import role_client, root_client
from local_cloud.emulator.patches.iam import role_allows
from local_cloud.emulator.patches.stock import Json, StockEmulatorChangedError, provisioners, responses

Created = tuple[str, Json]


def apply() -> None:
    """
    Apply the patches of this module.

    BucketDeployment's function needs a layer with the AWS CLI, which cannot be downloaded everywhere, and the function that
    empties buckets never reports back in the stock emulator, so that a stack with either would hang until its time-out.
    What BucketDeployment does is done as its function's role, so that a grant that is missing fails here, too.
    """
    for resource_type in ("Custom::CDKBucketDeployment", "Custom::S3AutoDeleteObjects"):
        if resource_type in provisioners._RESOURCE_HANDLERS:
            raise StockEmulatorChangedError(f"the emulator has a {resource_type} of its own now")
    provisioners._RESOURCE_HANDLERS["Custom::CDKBucketDeployment"] = {
        "create": _create_deployment,
        "update": _update_deployment,
        "update_with_logical_id": True,
        "delete": _delete_deployment,
    }
    provisioners._RESOURCE_HANDLERS["Custom::S3AutoDeleteObjects"] = {
        "create": lambda logical_id, _props, _stack_name: (f"empties-{logical_id}", {}),
        "update": lambda physical_id, _old_props, _new_props, _stack_name, logical_id=None: (physical_id, {}),  # noqa: ARG005 -- the emulator passes it by name
        "update_with_logical_id": True,
        "delete": lambda _physical_id, props: _empty(props["BucketName"]),
    }


def _create_deployment(_logical_id: str, props: Json, _stack_name: str) -> Created:
    _deploy(props)
    return f"aws.cdk.s3deployment.{responses.new_uuid()}", _deployment_attributes(props)


def _update_deployment(
    physical_id: str, old_props: Json, new_props: Json, _stack_name: str, logical_id: str | None = None
) -> Created:
    del logical_id  # the emulator passes it by name
    _deploy(new_props)
    old, new = _destination(old_props), _destination(new_props)
    # As CDK's function does: what lay at an earlier destination goes unless it is to be kept.
    if old != new and not _is_true(new_props.get("RetainOnDelete", "true")):
        _remove(_s3_of_function(new_props), *old)
    return physical_id, _deployment_attributes(new_props)


def _delete_deployment(_physical_id: str, props: Json) -> None:
    if not _is_true(props.get("RetainOnDelete", "true")):
        _remove(_s3_of_function(props), *_destination(props))


def _deployment_attributes(props: Json) -> Json:
    bucket = props["DestinationBucketName"]
    return {"DestinationBucketArn": f"arn:aws:s3:::{bucket}", "SourceObjectKeys": props["SourceObjectKeys"]}


def _destination(props: Json) -> tuple[str, str]:
    """Bucket and key prefix; the prefix is empty or ends with a slash."""
    prefix = (props.get("DestinationBucketKeyPrefix") or "").strip("/")
    return props["DestinationBucketName"], f"{prefix}/" if prefix else ""


def _deploy(props: Json) -> None:
    s3 = _s3_of_function(props)
    bucket, prefix = _destination(props)
    deployed = set()
    for number, (source_bucket, source_key) in enumerate(
        zip(props["SourceBucketNames"], props["SourceObjectKeys"], strict=True)
    ):
        archive = s3.get_object(Bucket=source_bucket, Key=source_key)["Body"].read()
        values = _marker_values(props, number)
        for name, content in _files(archive, source_key, extract=_is_true(props.get("Extract", "true"))).items():
            filled = content
            for marker, value in values.items():
                filled = filled.replace(marker.encode(), value.encode())
            s3.put_object(
                Bucket=bucket,
                Key=f"{prefix}{name}",
                Body=filled,
                **{"ContentType": mimetypes.guess_type(name)[0] or "binary/octet-stream", **_metadata(props)},
            )
            deployed.add(f"{prefix}{name}")
    if _is_true(props.get("Prune", "true")):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for found in page.get("Contents", []):
                if found["Key"] not in deployed:
                    s3.delete_object(Bucket=bucket, Key=found["Key"])


def _marker_values(props: Json, number: int) -> dict[str, str]:
    """What to put in the place of the markers in source `number`: values that are known only at the deployment."""
    markers = props.get("SourceMarkers") or []
    configurations = props.get("SourceMarkersConfig") or []
    values = {marker: str(value) for marker, value in (markers[number] if number < len(markers) else {}).items()}
    if number < len(configurations) and _is_true(configurations[number].get("jsonEscape")):
        return {marker: json.dumps(value)[1:-1] for marker, value in values.items()}
    return values


def _metadata(props: Json) -> Json:
    """The headers and user metadata that every object of this deployment gets, in the words of PutObject."""
    system = {
        "".join(part.capitalize() for part in name.split("-")): value
        for name, value in (props.get("SystemMetadata") or {}).items()
    }
    return {**system, **({"Metadata": props["UserMetadata"]} if props.get("UserMetadata") else {})}


def _files(archive: bytes, key: str, *, extract: bool) -> dict[str, bytes]:
    if not extract:
        return {key.rpartition("/")[2]: archive}
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        return {name: packed.read(name) for name in packed.namelist() if not name.endswith("/")}


def _s3_of_function(props: Json) -> Any:  # noqa: ANN401 -- botocore has no types here
    """S3 as the role of the function that does the deployment; the function's log is written first, as Lambda does."""
    function = root_client("lambda").get_function_configuration(FunctionName=props["ServiceToken"])
    name, role = function["FunctionName"], function["Role"]
    group = function.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{name}"
    stream = f"arn:aws:logs:{responses.get_region()}:{responses.get_account_id()}:log-group:{group}:log-stream:{name}"
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        # A function that may not log runs all the same.
        role_allows(role, action, stream, session=name)
    return role_client("s3", role, session=name)


def _remove(s3: Any, bucket: str, prefix: str) -> None:  # noqa: ANN401 -- botocore has no types here
    """What `aws s3 rm --recursive` does."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=found["Key"])


def _empty(bucket: str) -> None:
    s3 = root_client("s3")
    try:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for found in page.get("Versions", []) + page.get("DeleteMarkers", []):
                s3.delete_object(Bucket=bucket, Key=found["Key"], VersionId=found["VersionId"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise


def _is_true(value: object) -> bool:
    return str(value).lower() == "true"
