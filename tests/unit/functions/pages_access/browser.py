"""A browser that keeps cookies as browsers do and follows redirects one at a time."""

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urljoin, urlsplit


@dataclass(frozen=True)
class Answer:
    """One answer of a server; its headers by lower-case name, the last of each."""

    url: str
    status: int
    headers: Mapping[str, str]
    set_cookies: tuple[str, ...]
    text: str

    @property
    def location(self) -> str:
        """Where it redirects to."""
        return urljoin(self.url, self.headers["location"])


class Browser:
    """A person's browser; `addresses` say where hosts really are, as a resolver would."""

    def __init__(self, *, addresses: Mapping[str, str], certificate: Path, user: str) -> None:
        self._addresses = addresses
        self._tls = ssl.create_default_context(cafile=str(certificate))
        self._user = user
        self.cookies: dict[str, dict[str, str]] = {}

    def get(self, url: str, **headers: str) -> Answer:
        """Ask for one page."""
        parts = urlsplit(url)
        jar = self.cookies.setdefault(parts.netloc, {})
        sent = {"Host": parts.netloc, "x-test-user": self._user, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if jar:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        connection = self._connect(parts.netloc)
        connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""), headers=sent)
        response = connection.getresponse()
        body = response.read().decode()
        set_cookies = tuple(response.headers.get_all("set-cookie") or ())
        connection.close()
        for line in set_cookies:
            self._keep(jar, line)
        return Answer(url, response.status, {k.lower(): v for k, v in response.getheaders()}, set_cookies, body)

    def _connect(self, netloc: str) -> http.client.HTTPConnection:
        real = self._addresses.get(netloc)
        if real is not None:
            return http.client.HTTPConnection(urlsplit(real).netloc, timeout=20)
        return http.client.HTTPSConnection(netloc, timeout=20, context=self._tls)

    @staticmethod
    def _keep(jar: dict[str, str], line: str) -> None:
        for name, morsel in SimpleCookie(line).items():
            if name.startswith("__Host-"):
                # https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#name-the-__host-prefix
                assert morsel["secure"]
                assert morsel["path"] == "/"
                assert not morsel["domain"]
            if morsel["max-age"] == "0" or morsel["expires"].startswith("Thu, 01 Jan 1970"):
                jar.pop(name, None)
            else:
                jar[name] = morsel.value

    def follow(self, url: str, *, until: str) -> Answer:
        """Ask, and follow redirects up to the first answer that is none or that leads to an address with `until` in it."""
        for _ in range(12):
            answer = self.get(url)
            if answer.status not in {302, 303} or until in answer.location:
                return answer
            url = answer.location
        raise AssertionError(f"more than 12 redirects, the last to {url}")


def as_query(value: object) -> str:
    """JSON, for a query."""
    return json.dumps(value, separators=(",", ":")).replace('"', "%22")
