"""The image registry: what its API says, and who may use its Docker protocol."""

import base64
import json
import secrets
from collections.abc import Awaitable, Callable

from local_cloud.emulator.patches.iam import caller_access_key_id, key_allows
from local_cloud.emulator.patches.stock import Json, Response, ecr, refusal, replace, responses

_USER = "AWS"
# What each request of the protocol needs: AWS documentation, "IAM permissions for pushing an image to an Amazon ECR private
# repository" and "Amazon ECR repository policies".
_ACTIONS = {
    ("blob", "HEAD"): "ecr:BatchCheckLayerAvailability",
    ("blob", "GET"): "ecr:GetDownloadUrlForLayer",
    ("blob_uploads", "POST"): "ecr:InitiateLayerUpload",
    ("blob_upload_session", "PATCH"): "ecr:UploadLayerPart",
    ("blob_upload_session", "PUT"): "ecr:CompleteLayerUpload",
    ("manifest", "PUT"): "ecr:PutImage",
    ("manifest", "GET"): "ecr:BatchGetImage",
    ("manifest", "HEAD"): "ecr:BatchGetImage",
}

_access_key_ids_by_password: dict[str, str] = {}


def apply() -> None:
    """Apply the patches of this module."""
    _say_that_an_image_is_missing()
    _give_each_caller_a_password()
    _authorize_the_docker_protocol()


def _say_that_an_image_is_missing() -> None:
    """DescribeImages of a missing image is an error on AWS; without it `cdk deploy` takes every image as published."""

    def describe(stock: Callable[[Json], Response]) -> Callable[[Json], Response]:
        def describe_images(data: Json) -> Response:
            name = data.get("repositoryName", "")
            if name in ecr._repositories:
                for image in data.get("imageIds") or []:
                    if ecr._find_image(name, image) is None:
                        wanted = ", ".join(f"{key}:'{value}'" for key, value in sorted(image.items()))
                        message = (
                            f"The image with imageId {{{wanted}}} does not exist within the repository with name '{name}' "
                            f"in the registry with id '{responses.get_account_id()}'"
                        )
                        return refusal("ImageNotFoundException", message)
            return stock(data)

        return describe_images

    replace(ecr, "_describe_images", "data", by=describe)


def _give_each_caller_a_password() -> None:
    """The stock emulator gives everybody the same password, which says nothing about who uses it."""

    def authorization_token(stock: Callable[[Json], Response]) -> Callable[[Json], Response]:
        def get_authorization_token(data: Json) -> Response:
            status, headers, body = stock(data)
            answer = json.loads(body)
            password = secrets.token_urlsafe(32)
            _access_key_ids_by_password[password] = caller_access_key_id()
            for entry in answer["authorizationData"]:
                entry["authorizationToken"] = base64.b64encode(f"{_USER}:{password}".encode()).decode()
            return status, headers, json.dumps(answer).encode()

        return get_authorization_token

    replace(ecr, "_get_authorization_token", "data", by=authorization_token)


def _authorize_the_docker_protocol() -> None:
    """
    Whoever pushes or pulls is the caller of GetAuthorizationToken and needs the permissions of the API's own actions.

    The stock emulator serves everybody. Pulls without a password are still served: they are this emulator's own, made after
    it has asked the execution role's policies.
    """

    def handle(stock: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
        async def handle_registry_request(
            method: str, path: str, headers: dict[str, str], body: bytes, query_params: Json
        ) -> Response:
            refused = _refusal(method, path, headers or {}, query_params)
            return refused if refused is not None else await stock(method, path, headers, body, query_params)

        return handle_registry_request

    replace(ecr, "handle_registry_request", "method", "path", "headers", "body", "query_params", by=handle)


def _refusal(method: str, path: str, headers: dict[str, str], query_params: Json) -> Response | None:
    """The answer to a request that is not allowed; None for one that is."""
    verb, name, _ = ecr._parse_v2_path(path) or ("", "", "")
    password = _password(headers)
    if password is None:
        # Clients send a password only after they were asked for one.
        writes = method not in {"GET", "HEAD"}
        return _error(401, "UNAUTHORIZED", "no basic auth credentials") if verb == "ping" or writes else None
    access_key_id = _access_key_ids_by_password.get(password)
    if access_key_id is None:
        return _error(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
    action = _ACTIONS.get((verb, method))
    if action is None or not access_key_id:
        return None
    ecr._select_registry_request_scope(name, {key.lower(): value for key, value in headers.items()}, query_params)
    arn = f"arn:aws:ecr:{responses.get_region()}:{responses.get_account_id()}:repository/{name}"
    if key_allows(access_key_id, action, arn):
        return None
    return _error(403, "DENIED", f"not authorized to perform: {action} on resource: {arn}")


def _password(headers: dict[str, str]) -> str | None:
    given = next((value for key, value in headers.items() if key.lower() == "authorization"), "")
    scheme, _, encoded = given.partition(" ")
    if scheme.lower() != "basic":
        return None
    user, _, password = base64.b64decode(encoded).decode(errors="replace").partition(":")
    # Clients without credentials answer a demand for some with empty ones.
    return password if user else None


def _error(status: int, code: str, message: str) -> Response:
    refused, headers, body = ecr._registry_error(status, code, message)
    return refused, {**headers, "WWW-Authenticate": 'Basic realm="ecr",service="ecr.amazonaws.com"'}, body
