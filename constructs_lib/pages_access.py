"""Who may read an environment's pages, and how they are hosted, as the settings say it."""

import ipaddress
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from constructs_lib.settings_error import SettingsError, check_one_of
from constructs_lib.warehouse_credentials import KEY_ARN

OPEN_TO_EVERYONE = "I want these pages to be readable by everyone on the internet"
"""What has to be said, in these words, before pages are hosted that anyone can read."""

PriceClass = Literal["100", "200", "all"]
"""Where CloudFront answers from: North America and Europe, that and most of the rest, or everywhere."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MOST_NETWORKS = 50
_PRIVATE: tuple[Network, ...] = tuple(
    ipaddress.ip_network(block)
    for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
_SECRET_ARN = re.compile(r"arn:aws:secretsmanager:([a-z0-9-]+):\d{12}:secret:[\w/+=.@-]+-[A-Za-z0-9]{6}", re.ASCII)
_CERTIFICATE_ARN = re.compile(r"arn:aws:acm:us-east-1:\d{12}:certificate/[0-9a-f-]+", re.ASCII)
_WEB_ACL_ARN = re.compile(r"arn:aws:wafv2:us-east-1:\d{12}:global/webacl/[\w-]+/[0-9a-f-]+", re.ASCII)
_DOMAIN_NAME = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_ISSUER = re.compile(r"https://[a-z0-9.-]+(:\d{1,5})?(/[\w.~%!$&'()*+,;=:@-]+)*/?", re.ASCII)
# Where anyone can have an account: https://accounts.google.com, and Entra ID for accounts of any organization or of none.
_ISSUERS_OF_EVERYONE = re.compile(
    r"https://(accounts\.google\.com|appleid\.apple\.com|login\.microsoftonline\.com/(common|consumers|organizations)(/v2\.0)?)/?"
)


def _check(setting: str, value: object, pattern: re.Pattern[str], expected: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise SettingsError(f"{setting} must be {expected}, got {value!r}")


def _check_texts(setting: str, values: object, example: str) -> None:
    if not isinstance(values, tuple) or not all(
        isinstance(value, str) and value.strip() == value != "" for value in values
    ):
        raise SettingsError(f"{setting} must be a tuple of texts such as ({example!r},), got {values!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SignIn:
    """
    Sign-in through an OpenID Connect provider, for users in one of `allowed_groups` and with an address in one of
    `allowed_email_domains`; an empty one of the two asks for nothing.

    `issuer`: the provider's address, as its discovery document spells it. `client_secret_arn`: the Secrets Manager secret of the
    client's secret, text or an object with `client_secret`; `client_secret_key_arn` the KMS key that encrypts it, if that is not
    AWS's. `groups_claim`: where an ID token names the groups. `extra_scopes`: what the provider wants asked for beside openid,
    profile and email, to name them. `every_user_of_the_provider`: True lets in whoever the provider knows, without groups and
    domains. `session`: how long a browser is let in before the provider is asked again, 5 minutes to 12 hours.
    """

    issuer: str
    client_id: str
    client_secret_arn: str
    client_secret_key_arn: str | None = None
    allowed_groups: tuple[str, ...] = ()
    allowed_email_domains: tuple[str, ...] = ()
    every_user_of_the_provider: bool = False
    groups_claim: str = "groups"
    extra_scopes: tuple[str, ...] = ()
    session: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        """Refuse what cannot name a provider, a client or its users."""
        _check("issuer", self.issuer, _ISSUER, "an https address without '?' and '#'")
        _check("client_id", self.client_id, re.compile(r"[\x21-\x7e]{1,255}"), "1 to 255 printable characters")
        _check("client_secret_arn", self.client_secret_arn, _SECRET_ARN, "the full ARN of a Secrets Manager secret")
        if self.client_secret_key_arn is not None:
            _check("client_secret_key_arn", self.client_secret_key_arn, KEY_ARN, "the ARN of a KMS key")
        _check_texts("allowed_groups", self.allowed_groups, "data-team")
        _check_texts("allowed_email_domains", self.allowed_email_domains, "example.com")
        _check_texts("extra_scopes", self.extra_scopes, "groups")
        for domain in self.allowed_email_domains:
            _check("an allowed email domain", domain, _DOMAIN_NAME, "a domain in lower case such as 'example.com'")
        _check("groups_claim", self.groups_claim, re.compile(r"[\x21-\x7e]{1,255}"), "the name of a claim")
        self._check_users()
        if not isinstance(self.session, timedelta) or not timedelta(minutes=5) <= self.session <= timedelta(hours=12):
            raise SettingsError(f"session must be a timedelta from 5 minutes to 12 hours, got {self.session!r}")

    def _check_users(self) -> None:
        named = bool(self.allowed_groups or self.allowed_email_domains)
        if self.every_user_of_the_provider is named:
            raise SettingsError(
                "SignIn takes allowed_groups or allowed_email_domains, or every_user_of_the_provider=True in their place, "
                f"got {self.allowed_groups!r}, {self.allowed_email_domains!r} and {self.every_user_of_the_provider!r}"
            )
        if self.every_user_of_the_provider and _ISSUERS_OF_EVERYONE.fullmatch(self.issuer):
            raise SettingsError(
                f"every_user_of_the_provider must not be True where anyone can have an account, got issuer {self.issuer!r}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class PagesHosting:
    """
    CloudFront in front of the pages, for those who sign in, those in `networks`, or, if both are given, those who do both.

    `networks`: ranges of IPv4 or IPv6 addresses such as "203.0.113.0/24". `open_to_everyone`: neither of the two is needed if it
    says `OPEN_TO_EVERYONE`, word for word. `domain_name`, `certificate_arn`: a name of one's own and its certificate in
    us-east-1; without, CloudFront's. `web_acl_arn`: a web ACL of AWS WAF for CloudFront, in us-east-1.
    """

    sign_in: SignIn | None = None
    networks: tuple[str, ...] = ()
    open_to_everyone: str | None = None
    domain_name: str | None = None
    certificate_arn: str | None = None
    price_class: PriceClass = "100"
    web_acl_arn: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be deployed, and what anyone could read without having been asked for in words."""
        if self.sign_in is not None and not isinstance(self.sign_in, SignIn):
            raise SettingsError(f"sign_in must be a SignIn or None, got {self.sign_in!r}")
        _check_texts("networks", self.networks, "203.0.113.0/24")
        if len(self.networks) > _MOST_NETWORKS:
            raise SettingsError(f"networks must be at most {_MOST_NETWORKS}, got {len(self.networks)}")
        self._check_openness()
        if (self.domain_name is None) is not (self.certificate_arn is None):
            raise SettingsError(
                f"domain_name and certificate_arn go together, got {self.domain_name!r} and {self.certificate_arn!r}"
            )
        if self.domain_name is not None:
            _check("domain_name", self.domain_name, _DOMAIN_NAME, "a name in lower case such as 'dbt.example.com'")
            _check(
                "certificate_arn",
                self.certificate_arn,
                _CERTIFICATE_ARN,
                "the ARN of an ACM certificate in us-east-1, where CloudFront reads them",
            )
        check_one_of("price_class", self.price_class, get_args(PriceClass))
        if self.web_acl_arn is not None:
            _check("web_acl_arn", self.web_acl_arn, _WEB_ACL_ARN, "the ARN of a web ACL for CloudFront, in us-east-1")

    def _check_openness(self) -> None:
        if self.open_to_everyone not in {None, OPEN_TO_EVERYONE}:
            raise SettingsError(f"open_to_everyone must be {OPEN_TO_EVERYONE!r} or None, got {self.open_to_everyone!r}")
        is_open = self.sign_in is None and (not self.networks or _is_open(self.parsed_networks()))
        if is_open and self.open_to_everyone is None:
            raise SettingsError(
                f"anyone could read the pages: sign_in is None and networks are {self.networks!r}; give one of the two, or "
                f"open_to_everyone={OPEN_TO_EVERYONE!r}"
            )
        if not is_open and self.open_to_everyone is not None:
            raise SettingsError(
                "open_to_everyone must be None where sign_in or networks say who may read the pages, "
                f"got {self.open_to_everyone!r}"
            )

    def parsed_networks(self) -> tuple[Network, ...]:
        """The networks; raises `SettingsError` for what is none."""
        return tuple(_network(value) for value in self.networks)


def _is_open(networks: tuple[Network, ...]) -> bool:
    # Nobody's own network is wider: the widest that were ever given to one organization are /8, and /19 of IPv6.
    return any(network.prefixlen < (8 if network.version == 4 else 16) for network in networks)


def _network(value: str) -> Network:
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        raise SettingsError(
            f"a network must be a range such as '203.0.113.0/24' or '2001:db8::/32', got {value!r} ({error})"
        ) from error
    if any(private.version == network.version and private.supernet_of(network) for private in _PRIVATE):  # type: ignore[arg-type]
        raise SettingsError(
            f"a network must be of public addresses, which are those that CloudFront sees, got {value!r}"
        )
    return network
