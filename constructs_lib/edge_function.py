"""The code that CloudFront runs for each request, with the settings of one environment in it."""

import ipaddress
import json
from collections.abc import Sequence

from constructs_lib.pages_access import Network
from constructs_lib.repository import REPOSITORY

_SOURCE = REPOSITORY / "functions" / "pages_access" / "src" / "edge.js"
_SETTINGS = '"@@SETTINGS@@"'
MOST_BYTES = 10 * 1024
"""https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html#limits-functions"""

_IPV4_IN_IPV6 = int(ipaddress.IPv6Address("::ffff:0:0"))


def edge_function_code(*, networks: Sequence[Network], signs_in: bool, domain_name: str | None, first_page: str) -> str:
    """
    Functions/pages_access/src/edge.js with its settings and without the lines that are comments alone.

    Raises ValueError if CloudFront would not take it for its size.
    """
    settings = {
        "domain": domain_name,
        "networks": [_in_ipv6(network) for network in networks] or None,
        "signIn": signs_in,
        "firstPage": first_page,
    }
    source = _SOURCE.read_text(encoding="utf-8").replace(_SETTINGS, json.dumps(settings, separators=(",", ":")))
    code = "".join(line for line in source.splitlines(keepends=True) if not line.lstrip().startswith("//"))
    size = len(code.encode())
    if size > MOST_BYTES:
        raise ValueError(
            f"the function of CloudFront must be at most {MOST_BYTES} bytes, got {size}: name fewer networks"
        )
    return code


def _in_ipv6(network: Network) -> tuple[str, int]:
    address, length = int(network.network_address), network.prefixlen
    if isinstance(network, ipaddress.IPv4Network):
        address, length = address | _IPV4_IN_IPV6, length + 96
    return f"{address:032x}", length
