"""What CloudFront's function can read of a key value store of an emulator."""

import json
import urllib.request
from urllib.parse import quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def keys_and_values(endpoint_url: str, store_arn: str) -> dict[str, str]:
    """All of them, as the account's root user; boto3 would need a library of its own for the signature that AWS wants here."""
    address = f"{endpoint_url}/key-value-stores/{quote(store_arn, safe='')}/keys"
    request = AWSRequest("GET", address)
    SigV4Auth(Credentials("test", "test"), "cloudfront-keyvaluestore", "us-east-1").add_auth(request)
    signed = urllib.request.Request(address, headers=dict(request.headers.items()))  # noqa: S310 - on loopback
    with urllib.request.urlopen(signed, timeout=30) as answer:  # noqa: S310 - on loopback
        return {item["Key"]: item["Value"] for item in json.load(answer)["Items"]}
