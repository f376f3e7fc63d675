"""Sign-in through a real OpenID Connect provider, by the functions that are deployed."""

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from constructs_lib.pages_access import PagesHosting
from constructs_lib.pages_hosting import NOT_FOUND_PAGE
from constructs_lib.repository import REPOSITORY
from tests.unit.functions.pages_access.browser import Answer, Browser, as_query
from tests.unit.functions.pages_access.edge import HERE, HOST, NODE, write_edge_function
from tests.unit.functions.pages_access.test_edge import SIGN_IN

PACKAGE = REPOSITORY / "functions" / "pages_access"
_CANARY = "canary-of-the-client-secret"
_CLIENT_SECRET = "arn:aws:secretsmanager:eu-west-1:333333333333:secret:pages-a1B2c3"
_SESSION_KEY = "arn:aws:secretsmanager:eu-west-1:333333333333:secret:session-a1B2c3"
_STORE = "arn:aws:cloudfront::333333333333:key-value-store/01234567-89ab-cdef-0123-456789abcdef"
_HOME = f"https://{HOST}/"
_PAGE = f"{_HOME}_pages/index.html"
_TEXT = "the projects of live"
_NOT_FOUND = (REPOSITORY / "pages/dist/not-found.html").read_text(encoding="utf-8")
_USERS = {
    "ada": {"email": "ada@example.com", "email_verified": True, "groups": ["data-team", "all"]},
    "eve": {"email": "eve@example.com", "email_verified": True, "groups": ["all", "data-team-2"]},
    "mallory": {"email": "mallory@example.com.evil.example", "email_verified": True, "groups": ["data-team"]},
    "oscar": {"email": "oscar@example.com", "email_verified": False, "groups": ["data-team"]},
    "sybil": {"groups": "data-team"},
}


class _Cloud:
    """The provider and the stand-ins of AWS, at work."""

    def __init__(self, folder: Path) -> None:
        self.certificate, key = _certificate(folder)
        self._processes: list[subprocess.Popen[str]] = []
        self.provider = self._start(
            "provider.mjs",
            {
                "package": str(PACKAGE),
                "host": HOST,
                "tlsKey": str(key),
                "tlsCertificate": str(self.certificate),
                "clientId": "pages",
                "clientSecret": _CANARY,
                "users": _USERS,
            },
        )["issuer"]
        self.cloudfront = self._start(
            "cloud.mjs",
            {
                "host": HOST,
                "edge": str(write_edge_function(folder, PagesHosting(sign_in=SIGN_IN))),
                "dist": str(PACKAGE / "dist"),
                "store": _STORE,
                "notFound": NOT_FOUND_PAGE,
                "pages": {"/_pages/index.html": _TEXT, NOT_FOUND_PAGE: _NOT_FOUND, "/shop/docs/a/index.html": "docs"},
                "secrets": {
                    _CLIENT_SECRET: {"one": {"text": json.dumps({"client_secret": _CANARY}), "stages": ["AWSCURRENT"]}},
                    _SESSION_KEY: {"zero": {"text": "made by CloudFormation", "stages": ["AWSCURRENT"]}},
                },
                "environment": {
                    "ISSUER": self.provider,
                    "CLIENT_ID": "pages",
                    "CLIENT_SECRET_ARN": _CLIENT_SECRET,
                    "SESSION_KEY_ARN": _SESSION_KEY,
                    "SCOPE": "openid profile email",
                    "GROUPS_CLAIM": "groups",
                    "ALLOWED_GROUPS": '["data-team"]',
                    "ALLOWED_EMAIL_DOMAINS": '["example.com"]',
                    "SESSION_SECONDS": "3600",
                },
            },
        )["cloudFront"]

    def _start(self, script: str, config: dict[str, Any]) -> dict[str, str]:
        process = subprocess.Popen(
            [NODE, HERE / script, json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"NODE_EXTRA_CA_CERTS": str(self.certificate), "PATH": "/usr/bin:/bin"},
        )
        self._processes.append(process)
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith(('{"issuer"', '{"cloudFront"')):
                started: dict[str, str] = json.loads(line)
                return started
        raise RuntimeError(f"{script} ended with {process.wait()}: {said}")

    def stop(self) -> str:
        """End all, and return what they have written."""
        written = ""
        for process in self._processes:
            written += process.communicate(timeout=20)[0]
        return written

    def browser(self, user: str = "ada") -> Browser:
        return Browser(addresses={HOST: self.cloudfront}, certificate=self.certificate, user=user)

    def spoil_next_token(self, **how: object) -> None:
        self.browser().get(f"{self.provider}/test/spoil?how={as_query(how)}")

    def rotate(self, version: str, *steps: str) -> dict[str, Any]:
        rotation = [{"Step": step, "SecretId": _SESSION_KEY, "ClientRequestToken": version} for step in steps]
        connection = http.client.HTTPConnection(urlsplit(self.cloudfront).netloc, timeout=20)
        connection.request("POST", "/test/rotate", json.dumps(rotation))
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        if response.status != 200:
            raise RuntimeError(body)
        state: dict[str, Any] = json.loads(body)
        return state


_STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
_FIRST = "11111111-1111-4111-8111-111111111111"


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Cloud]:
    """
    Everything, deployed, with a session key that a rotation has made.

    At the end nothing that was written may hold a secret, a code, a token or a cookie.
    """
    running = _Cloud(tmp_path_factory.mktemp("sign-in"))
    assert running.browser().get(f"{_HOME}auth/login").status == 503
    key = running.rotate(_FIRST, *_STEPS)["keys"][_FIRST]
    yield running
    written = running.stop()
    assert "signed in" in written
    for secret in (_CANARY, key, "eyJ", "code=", "id_token", "__Host-"):
        assert secret not in written


def _callback(browser: Browser, page: str = _PAGE) -> str:
    """The address that the provider sends the browser to, not yet asked for."""
    return browser.follow(page, until="/auth/callback").location


def _sign_in(browser: Browser, page: str = _PAGE) -> Answer:
    """Sign in, and return what the callback answers."""
    return browser.get(_callback(browser, page))


def _has_session(browser: Browser) -> bool:
    return "__Host-pages-session" in browser.cookies.get(HOST, {})


def test_signs_in_and_shows_what_was_wanted(cloud: _Cloud) -> None:
    """From the page without a session, over the provider, back to the page."""
    browser = cloud.browser()

    answer = _sign_in(browser)

    assert (answer.status, answer.location) == (302, _PAGE)
    assert browser.get(_PAGE).text == _TEXT


def test_asks_the_provider_with_pkce_state_and_nonce(cloud: _Cloud) -> None:
    """None of them twice."""
    asked = [
        parse_qs(urlsplit(cloud.browser().get(f"{_HOME}auth/login").location).query, strict_parsing=True)
        for _ in range(2)
    ]

    for query in asked:
        assert query["response_type"] == ["code"]
        assert query["code_challenge_method"] == ["S256"]
        assert query["redirect_uri"] == [f"{_HOME}auth/callback"]
        assert query["scope"] == ["openid profile email"]
    for name in ("state", "nonce", "code_challenge"):
        assert len({query[name][0] for query in asked}) == 2
        assert all(len(query[name][0]) >= 43 for query in asked)


def test_cookies_are_for_this_host_and_no_script(cloud: _Cloud) -> None:
    """And end with the session that the settings name; the begun sign-in's ends at once."""
    answer = _sign_in(cloud.browser())

    session, login = answer.set_cookies
    assert re.fullmatch(
        r"__Host-pages-session=[\w-]+\.[\w-]+\.[\w-]+; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax", session
    )
    assert login == "__Host-pages-login=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"


def test_answers_are_kept_by_no_cache_and_hold_no_script(cloud: _Cloud) -> None:
    """Redirects and pages alike."""
    browser = cloud.browser("eve")
    refused = _sign_in(browser)

    for answer in (browser.get(f"{_HOME}auth/login"), _sign_in(cloud.browser()), refused):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert refused.headers["content-security-policy"].startswith("default-src 'none';")
    assert refused.headers["x-content-type-options"] == "nosniff"
    assert "<script" not in refused.text


def test_a_code_is_taken_once(cloud: _Cloud) -> None:
    """Who sees the address of a callback can do nothing with it, not even in the same browser."""
    browser = cloud.browser()
    callback = _callback(browser)
    login = dict(browser.cookies[HOST])
    assert browser.get(callback).status == 302

    again = cloud.browser()
    without_cookie = again.get(callback)
    again.cookies[HOST] = login
    with_cookie = again.get(callback)

    assert (without_cookie.status, with_cookie.status) == (400, 400)
    assert not _has_session(again)


def test_another_browsers_sign_in_is_not_finished(cloud: _Cloud) -> None:
    """Someone who is sent a link to a callback is not signed in as its sender: the state is another."""
    sender, receiver = cloud.browser("oscar"), cloud.browser()
    foreign = _callback(sender)
    _callback(receiver)

    assert receiver.get(foreign).status == 400
    assert not _has_session(receiver)


@pytest.mark.parametrize("change", ["state=other", "state=", "iss=https://evil.example", "code=other", "error=x&code="])
def test_refuses_a_callback_that_was_changed(cloud: _Cloud, change: str) -> None:
    """State, issuer and code as the provider gave them, or nothing."""
    browser = cloud.browser()
    callback = _callback(browser)
    name = change.partition("=")[0]

    changed = re.sub(rf"(?<=[?&]){name}=[^&]*|$", change, callback + "&" * (f"{name}=" not in callback), count=1)

    assert changed != callback
    assert browser.get(changed).status == 400
    assert not _has_session(browser)


@pytest.mark.parametrize(
    "how",
    [
        {"claims": {"nonce": "other"}},
        {"claims": {"nonce": None}},
        {"claims": {"exp": 1_577_836_800, "iat": 1_577_836_500}},
        {"claims": {"aud": "another-client"}},
        {"claims": {"aud": ["another-client"]}},
        {"claims": {"iss": "https://evil.example"}},
        {"claims": {"sub": None}},
        {"withKey": "other"},
        {"unsigned": True},
    ],
    ids=str,
)
def test_refuses_an_id_token_that_is_not_for_this_sign_in(cloud: _Cloud, how: dict[str, object]) -> None:
    """Of another nonce, audience or issuer, expired, or with a signature that is not the provider's."""
    browser = cloud.browser()
    callback = _callback(browser)
    cloud.spoil_next_token(**how)

    assert browser.get(callback).status == 400
    assert not _has_session(browser)


def test_token_that_was_only_signed_anew_is_taken(cloud: _Cloud) -> None:
    """The refusals above are of what was changed, not of the change."""
    browser = cloud.browser()
    callback = _callback(browser)
    cloud.spoil_next_token(claims={"amr": ["pwd"]})

    assert browser.get(callback).location == _PAGE
    assert _has_session(browser)


@pytest.mark.parametrize("user", ["eve", "mallory", "oscar", "sybil"])
def test_lets_in_only_whom_the_settings_name(cloud: _Cloud, user: str) -> None:
    """Not another group, a domain that only looks alike, an address that is not verified, or none."""
    browser = cloud.browser(user)

    answer = _sign_in(browser)

    assert (answer.status, "Not for you" in answer.text) == (401, True)
    assert not _has_session(browser)
    assert browser.get(_PAGE).status == 302


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n//evil.example",
        "javascript:alert(1)",
        "/..//evil.example",
        "/.//evil.example",
        "/auth/sign-out",
        "/x/../auth/sign-out",
        " https://evil.example",
        "@evil.example",
        ".evil.example",
        "",
        "/" + "x" * 3000,
    ],
)
def test_comes_back_to_no_other_host(cloud: _Cloud, wanted: str) -> None:
    """Whatever a link to the sign-in says; the first page is shown in its place."""
    browser = cloud.browser()

    answer = _sign_in(browser, f"{_HOME}auth/login?return_to={quote(wanted, safe='')}")

    assert answer.headers["location"] == "/"


def _with_another_start(part: str) -> str:
    """``part`` with its first six bits changed, whatever they are.

    Not the last: its character may hold bits that base64url ignores.
    """
    return ("B" if part.startswith("A") else "A") + part[1:]


def test_forged_login_cookie_is_refused(cloud: _Cloud) -> None:
    """What it remembers is sealed: no other verifier, state or page can be put in."""
    browser = cloud.browser()
    callback = _callback(browser)
    sealed = browser.cookies[HOST]["__Host-pages-login"]
    header, key, nonce, text, tag = sealed.split(".")
    assert key == ""
    for forged in (
        f"{header}..{_with_another_start(nonce)}.{text}.{tag}",
        f"{header}..{nonce}.{_with_another_start(text)}.{tag}",
        f"{header}..{nonce}.{text}.{_with_another_start(tag)}",
        "x",
        "a.b.c.d.e",
    ):
        browser.cookies[HOST]["__Host-pages-login"] = forged

        assert browser.get(callback).status == 400


def test_login_cookie_is_no_session(cloud: _Cloud) -> None:
    """Both are made with one secret, and neither stands in for the other."""
    browser = cloud.browser()
    _callback(browser)
    browser.cookies[HOST]["__Host-pages-session"] = browser.cookies[HOST]["__Host-pages-login"]

    assert browser.get(_PAGE).status == 302


def test_signs_out_here_and_at_the_provider(cloud: _Cloud) -> None:
    """Then the pages are closed again."""
    browser = cloud.browser()
    _sign_in(browser)

    answer = browser.get(f"{_HOME}auth/sign-out")

    assert answer.location.startswith(f"{cloud.provider}/session/end?")
    assert parse_qs(urlsplit(answer.location).query)["post_logout_redirect_uri"] == [f"{_HOME}auth/signed-out"]
    assert browser.get(f"{_HOME}auth/signed-out").status == 200
    assert browser.get(_PAGE).status == 302


def test_another_site_cannot_sign_out(cloud: _Cloud) -> None:
    """Browsers say where a request comes from."""
    browser = cloud.browser()
    _sign_in(browser)

    assert browser.get(f"{_HOME}auth/sign-out", sec_fetch_site="cross-site").status == 400
    assert browser.get(_PAGE).text == _TEXT


def test_missing_pages_are_missing(cloud: _Cloud) -> None:
    """A session opens what is there, and of what is not it shows a page of ours with 404, not S3's refusal."""
    browser = cloud.browser()
    _sign_in(browser)

    for missing in ("nothing.html", "shop/docs/b/index.html", "auth/nothing"):
        answer = browser.get(f"{_HOME}{missing}")
        assert (answer.status, answer.text) == (404, _NOT_FOUND)


def test_missing_pages_are_not_told_to_strangers(cloud: _Cloud) -> None:
    """Who is not signed in is sent to the sign-in, whether a page is there or not."""
    assert cloud.browser().get(f"{_HOME}nothing.html").status == 302


def test_new_key_signs_nobody_out_and_the_one_before_the_last_does(cloud: _Cloud) -> None:
    """CloudFront knows the new key before it is used, and the one before it until the next rotation."""
    browser = cloud.browser()
    _sign_in(browser)
    second, third = "22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333"

    half_way = cloud.rotate(second, *_STEPS[:3])
    after = cloud.rotate(second, "createSecret", *_STEPS[3:])

    assert half_way["secrets"][_SESSION_KEY][second]["stages"] == ["AWSPENDING"]
    assert set(half_way["keys"]) == set(after["keys"]) == {_FIRST, second}
    assert after["secrets"][_SESSION_KEY][second]["stages"] == ["AWSCURRENT"]
    assert after["secrets"][_SESSION_KEY][_FIRST]["stages"] == ["AWSPREVIOUS"]
    assert after["keys"][second] == after["secrets"][_SESSION_KEY][second]["text"]
    assert re.fullmatch("[0-9a-f]{64}", after["keys"][second])
    assert after["keys"][second] != after["keys"][_FIRST]
    assert any(call == "POST keys AWS4-ECDSA-P256-SHA256" for call in half_way["asked"])
    assert browser.get(_PAGE).text == _TEXT

    assert set(cloud.rotate(third, *_STEPS)["keys"]) == {second, third}
    assert browser.get(_PAGE).status == 302


def test_bundle_is_built_of_the_locked_sources(tmp_path: Path) -> None:
    """What is deployed is what a reviewer reads: a build gives the committed bytes."""
    subprocess.run([NODE, "build.mjs", tmp_path / "dist"], cwd=PACKAGE, check=True)

    built, committed = (
        {path.name: path.read_bytes() for path in folder.iterdir()} for folder in (tmp_path / "dist", PACKAGE / "dist")
    )
    assert built == committed
