"""CloudFront's function lets in those alone whom the settings name; its code runs in Node."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from constructs_lib.edge_function import MOST_BYTES, edge_function_code
from constructs_lib.pages_access import OPEN_TO_EVERYONE, PagesHosting, SignIn
from tests.unit.functions.pages_access.edge import HOST, Edge

_KEY_ID = "01234567-89ab-cdef-0123-456789abcdef"
_KEY = "5e" * 32
_PAGE = "/_pages/index.html"
_SESSION = "__Host-pages-session"
SIGN_IN = SignIn(
    issuer="https://login.example.com",
    client_id="pages",
    client_secret_arn="arn:aws:secretsmanager:eu-west-1:333333333333:secret:pages-a1B2c3",
    allowed_groups=("data-team",),
)
_NETWORKS = ("203.0.113.0/25", "198.51.100.8/32", "2001:db8:aa::/47")


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """The function where people sign in."""
    with Edge(tmp_path_factory.mktemp("edge") / "signing", PagesHosting(sign_in=SIGN_IN)) as edge:
        edge.keys = {_KEY_ID: _KEY}
        yield edge


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """The function where networks are let in."""
    with Edge(tmp_path_factory.mktemp("edge") / "listing", PagesHosting(networks=_NETWORKS)) as edge:
        yield edge


def _encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _session(*, key: str = _KEY, header: object = None, **changes: object) -> str:
    now = int(time.time())
    claims = {"iss": "pages", "aud": HOST, "sub": "someone", "iat": now, "exp": now + 600, **changes}
    body = f"{_encoded(header or {'alg': 'HS256', 'kid': _KEY_ID})}.{_encoded(claims)}"
    signature = hmac.digest(key.encode(), body.encode(), hashlib.sha256)
    return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _is_let_in(answer: dict[str, object]) -> bool:
    return "statusCode" not in answer


def test_lets_a_session_in(signing: Edge) -> None:
    """A cookie that the sign-in function has signed opens the pages."""
    answer = signing.ask("/shop/docs/run-0001/index.html", cookies={_SESSION: _session()})

    assert answer["uri"] == "/shop/docs/run-0001/index.html"


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "a.b",
        "a.b.c",
        "....",
        _session(key="5f" * 32),
        _session()[:-1],
        _session()[:-4] + "AAAA",
        _session(header={"alg": "none", "kid": _KEY_ID}).rpartition(".")[0] + ".",
        _session(header={"alg": "none", "kid": _KEY_ID}),
        _session(header={"alg": "HS512", "kid": _KEY_ID}),
        _session(header={"alg": "HS256"}),
        _session(header={"alg": "HS256", "kid": "__proto__"}),
        _session(header={"alg": "HS256", "kid": "99999999-89ab-cdef-0123-456789abcdef"}),
        _session(header=["HS256"]),
        _session(aud="d222222abcdef8.cloudfront.net"),
        _session(aud=[HOST]),
        _session(iss="pages-login"),
        _session(exp=int(time.time()) - 1),
        _session(exp=None),
        _session(exp="9999999999"),
        _session(iat=int(time.time()) + 3600),
        _session(iat=None),
    ],
    ids=lambda cookie: str(len(cookie)),
)
def test_refuses_sessions_that_are_none(signing: Edge, cookie: str) -> None:
    """Forged, cut, unsigned, expired, from the future, of another key or of another host: each leads to the sign-in."""
    answer = signing.ask(_PAGE, cookies={_SESSION: cookie})

    assert answer["statusCode"] == 302
    assert answer["headers"]["location"]["value"].startswith("/auth/login?")


def test_refuses_a_signature_over_another_body(signing: Edge) -> None:
    """A session cannot be made longer by who has it."""
    header, _, signature = _session().split(".")
    _, longer, _ = _session(exp=int(time.time()) + 10**8).split(".")

    assert not _is_let_in(signing.ask(_PAGE, cookies={_SESSION: f"{header}.{longer}.{signature}"}))


def test_sign_in_comes_back_to_what_was_wanted(signing: Edge) -> None:
    """With its query, each part encoded once more."""
    answer = signing.ask("/_pages/project.html", querystring={"name": ["shop"], "run": ["a%2Fb", "c"], "all": [""]})

    assert answer["headers"]["location"]["value"] == (
        "/auth/login?return_to=%2F_pages%2Fproject.html%3Fname%3Dshop%26run%3Da%252Fb%26run%3Dc%26all"
    )


def test_what_is_too_long_to_come_back_to_is_left_out(signing: Edge) -> None:
    """CloudFront refuses addresses of more than 8 kB."""
    answer = signing.ask(_PAGE, querystring={"q": ["x" * 5000]})

    assert answer["headers"]["location"]["value"] == "/auth/login?return_to=%2F"


def test_scripts_are_told_that_the_session_has_ended(signing: Edge) -> None:
    """A redirect to the provider would be an error without words for a script."""
    answer = signing.ask("/shop/history/runs.json", headers={"sec-fetch-mode": "cors"})

    assert answer["statusCode"] == 401


@pytest.mark.parametrize("uri", ["/auth/login", "/auth/callback", "/auth/sign-out", "/auth/signed-out"])
def test_sign_in_itself_needs_no_session(signing: Edge, uri: str) -> None:
    """And is told the host by CloudFront, whatever the browser says."""
    answer = signing.ask(uri, headers={"x-pages-host": "evil.example"})

    assert answer["uri"] == uri
    assert answer["headers"]["x-pages-host"]["value"] == HOST


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("/auth/../shop/docs/a/index.html", 400),
        ("/auth/login/../../shop/docs/a/index.html", 400),
        ("/auth/%2e%2e/shop/docs/a/index.html", 400),
        ("/auth/%2E%2E%2Fshop", 400),
        ("/auth/..%5cshop", 400),
        ("/auth/login%00", 400),
        ("/auth/%252e%252e/shop", 400),
        ("/auth//login", 400),
        ("//evil.example/", 400),
        ("/\\evil.example/", 400),
        ("/shop/./docs", 400),
        ("/shop/..", 400),
        ("/auth/login/", 302),
        ("/auth/other", 302),
        ("/Auth/login", 302),
        ("/%61uth/login", 302),
        ("/authx", 302),
        ("/auth", 302),
    ],
)
def test_no_other_spelling_of_a_path_needs_no_session(signing: Edge, uri: str, status: int) -> None:
    """CloudFront chooses the origin by a path without dots, and sends on the path as it came."""
    assert signing.ask(uri)["statusCode"] == status


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        (
            "/shop/docs/2026-01-01T05:00:00+00:00-0001/index.html",
            "/shop/docs/2026-01-01T05:00:00%2B00:00-0001/index.html",
        ),
        ("/shop/docs/05%3A00%3A00%2B00%3A00-0001/index.html", "/shop/docs/05%3A00%3A00%2B00%3A00-0001/index.html"),
        ("/shop/a%20b.html", "/shop/a%20b.html"),
    ],
)
def test_names_of_runs_reach_the_bucket_as_they_are(signing: Edge, uri: str, key: str) -> None:
    """They hold colons and plus signs, which S3 would read as spaces."""
    assert signing.ask(uri, cookies={_SESSION: _session()})["uri"] == key


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_pages_can_only_be_read(signing: Edge, method: str) -> None:
    """Whoever asks."""
    assert signing.ask(_PAGE, method=method, cookies={_SESSION: _session()})["statusCode"] == 405


@pytest.mark.parametrize(
    ("ip", "lets_in"),
    [
        ("203.0.113.0", True),
        ("203.0.113.127", True),
        ("203.0.113.128", False),
        ("203.0.112.255", False),
        ("198.51.100.8", True),
        ("198.51.100.9", False),
        ("198.51.100.7", False),
        ("2001:db8:aa::", True),
        ("2001:db8:ab:ffff:ffff:ffff:ffff:ffff", True),
        ("2001:0DB8:00AB:0000:0000:0000:0000:0001", True),
        ("2001:db8:ac::", False),
        ("2001:db8:a9:ffff:ffff:ffff:ffff:ffff", False),
        ("::ffff:203.0.113.1", True),
        ("::ffff:cb00:7101", True),
        ("::203.0.113.1", False),
        ("203.0.113", False),
        ("203.0.113.1.1", False),
        ("203.0.113.01", False),
        ("203.0.113.256", False),
        ("::1::1", False),
        (":", False),
        ("", False),
        ("1:2:3:4:5:6:7:8:9", False),
        ("2001:db8:aa::12345", False),
        ("nonsense", False),
    ],
)
def test_networks_are_let_in_to_their_last_address(listing: Edge, ip: str, lets_in: bool) -> None:
    """IPv4 and IPv6; what cannot be read is not let in."""
    answer = listing.ask(ip=ip)

    assert _is_let_in(answer) is lets_in
    if not lets_in:
        assert answer["statusCode"] == 403


def test_browser_cannot_say_where_it_comes_from(listing: Edge) -> None:
    """Only CloudFront's own word for the address counts."""
    told = {"x-forwarded-for": "203.0.113.1", "cloudfront-viewer-address": "203.0.113.1:443"}

    assert listing.ask(headers=told)["statusCode"] == 403


def test_networks_and_sign_in_are_both_asked_for(tmp_path: Path) -> None:
    """A session is not enough outside, nor is the network without a session."""
    with Edge(tmp_path / "both", PagesHosting(sign_in=SIGN_IN, networks=_NETWORKS)) as edge:
        edge.keys = {_KEY_ID: _KEY}
        session = {_SESSION: _session()}

        assert edge.ask(ip="192.0.2.1", cookies=session)["statusCode"] == 403
        assert edge.ask("/auth/login", ip="192.0.2.1")["statusCode"] == 403
        assert edge.ask(ip="203.0.113.1")["statusCode"] == 302
        assert _is_let_in(edge.ask(ip="203.0.113.1", cookies=session))


def test_everyone_is_let_in_where_that_was_asked_for(tmp_path: Path) -> None:
    """In words; paths are looked at all the same."""
    with Edge(tmp_path / "open", PagesHosting(open_to_everyone=OPEN_TO_EVERYONE)) as edge:
        assert _is_let_in(edge.ask(ip="192.0.2.1"))
        assert edge.ask("/a/../b")["statusCode"] == 400


def test_root_leads_to_the_first_page(listing: Edge) -> None:
    """By a redirect, so that what the page loads lies beside it."""
    answer = listing.ask("/", ip="203.0.113.1")

    assert answer["headers"]["location"]["value"] == _PAGE


def test_own_name_is_the_only_one(tmp_path: Path) -> None:
    """CloudFront answers to its own name, too: sessions are of one host."""
    hosting = PagesHosting(
        sign_in=SIGN_IN,
        domain_name="dbt.example.com",
        certificate_arn="arn:aws:acm:us-east-1:333333333333:certificate/0a1b",
    )
    with Edge(tmp_path / "named", hosting) as edge:
        edge.keys = {_KEY_ID: _KEY}
        other = edge.ask("/_pages/project.html", querystring={"name": ["shop"]})
        own = edge.ask(headers={"host": "DBT.example.com"}, cookies={_SESSION: _session(aud="dbt.example.com")})

    assert other["headers"]["location"]["value"] == "https://dbt.example.com/_pages/project.html?name=shop"
    assert _is_let_in(own)


@pytest.mark.parametrize(
    ("tls", "lets_in"),
    [
        ("TLSv1.3:TLS_AES_128_GCM_SHA256:sessionResumed", True),
        ("TLSv1.2:ECDHE-RSA-AES128-GCM-SHA256:fullHandshake", True),
        ("TLSv1.1:ECDHE-RSA-AES128-SHA:fullHandshake", False),
        ("TLSv1:AES128-SHA:fullHandshake", False),
        ("SSLv3:AES128-SHA:fullHandshake", False),
    ],
)
def test_old_tls_is_refused(listing: Edge, tls: str, lets_in: bool) -> None:
    """CloudFront's own names take TLS from 1.0 on, whatever a distribution says."""
    assert _is_let_in(listing.ask(ip="203.0.113.1", headers={"cloudfront-viewer-tls": tls})) is lets_in


def test_refusals_are_kept_by_no_cache_and_run_nothing(signing: Edge) -> None:
    """Whatever the headers policy of their path."""
    for answer in (signing.ask(), signing.ask("/a/../b"), signing.ask(method="POST")):
        headers = {name: header["value"] for name, header in answer["headers"].items()}

        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_longest_settings_fit() -> None:
    """CloudFront takes 10 kB: fifty networks, the most that settings can name, with the longest name."""
    networks = tuple(f"2001:db8:{number:x}:ffff::/64" for number in range(50))
    hosting = PagesHosting(sign_in=SIGN_IN, networks=networks)

    code = edge_function_code(
        networks=hosting.parsed_networks(), signs_in=True, domain_name="d" * 253, first_page=_PAGE
    )

    assert len(code.encode()) <= MOST_BYTES
