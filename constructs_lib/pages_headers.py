"""The headers that hosted pages are answered with."""

from aws_cdk import Duration
from aws_cdk import aws_cloudfront as cloudfront
from constructs import Construct

_NOBODY_ELSE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# A page in a sandbox has an origin of its own: it can read nothing of this host, whoever wrote it. Reports and docs are made in a
# project's container, so a project could put any page there.
_SANDBOX = "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox allow-downloads"

CSP_OF_PAGES = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " + _NOBODY_ELSE
)
"""Of the portal and the project page: nothing but what lies beside them."""

# What may run in a report is said by the report, with hashes of its own script and style: each version of it has others. Without
# default-src these two are left to it; all else is said here, too.
CSP_OF_REPORTS = (
    f"{_SANDBOX}; connect-src 'none'; img-src data:; font-src 'none'; media-src 'none'; object-src 'none'; frame-src 'none'; "
    f"worker-src 'none'; manifest-src 'none'; {_NOBODY_ELSE}"
)
"""Of a run's report, which is one file."""

CSP_OF_DOCS = (
    f"{_SANDBOX} allow-modals; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    f"font-src data:; connect-src 'none'; {_NOBODY_ELSE}"
)
"""Of dbt's own docs page, which is one file, too, and is made of inline scripts and styles."""


def headers_policy(
    scope: Construct, construct_id: str, *, comment: str, content_security_policy: str
) -> cloudfront.ResponseHeadersPolicy:
    """Define the headers of some pages: for TLS only, framed by nobody, and kept by no cache but as the object itself says."""
    # The standard has browsers refuse a page that has both a sandbox and an opener policy:
    # https://html.spec.whatwg.org/multipage/browsing-the-web.html#navigation-as-a-fetch
    opener = [] if _SANDBOX in content_security_policy else [_header("cross-origin-opener-policy", "same-origin")]
    return cloudfront.ResponseHeadersPolicy(
        scope,
        construct_id,
        comment=comment,
        security_headers_behavior=cloudfront.ResponseSecurityHeadersBehavior(
            content_security_policy=cloudfront.ResponseHeadersContentSecurityPolicy(
                content_security_policy=content_security_policy, override=True
            ),
            content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
            frame_options=cloudfront.ResponseHeadersFrameOptions(
                frame_option=cloudfront.HeadersFrameOption.DENY, override=True
            ),
            referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
                referrer_policy=cloudfront.HeadersReferrerPolicy.NO_REFERRER, override=True
            ),
            strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
                access_control_max_age=Duration.days(365), include_subdomains=False, override=True
            ),
        ),
        custom_headers_behavior=cloudfront.ResponseCustomHeadersBehavior(
            custom_headers=[
                _header("cache-control", "private, no-cache", override=False),
                *opener,
                _header("cross-origin-resource-policy", "same-origin"),
                _header("permissions-policy", "camera=(), geolocation=(), microphone=()"),
                _header("x-robots-tag", "noindex, nofollow"),
            ]
        ),
        remove_headers=[
            "server",
            "x-amz-server-side-encryption",
            "x-amz-server-side-encryption-aws-kms-key-id",
            "x-amz-version-id",
        ],
    )


def _header(name: str, value: str, *, override: bool = True) -> cloudfront.ResponseCustomHeader:
    return cloudfront.ResponseCustomHeader(header=name, value=value, override=override)
