"""A certificate authority of one stand-in and the server certificate that it signs; both are made at start-up."""

import datetime as dt
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = dt.timedelta(days=30)
# Clocks of the machine and of a virtual machine beside it may differ.
_CLOCK_TOLERANCE = dt.timedelta(hours=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerCertificate:
    """The files of a server's identity; `ca_file` is what a client needs to trust it."""

    ca_file: Path
    certificate_file: Path
    key_file: Path


def make_server_certificate(folder: Path) -> ServerCertificate:
    """
    Write a fresh authority and a certificate for 127.0.0.1 and localhost into `folder`.

    The authority's key is never written: nobody can sign a second certificate with it.
    The extensions are those that Python 3.13's strict verification asks for (RFC 5280, 4.2.1).
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = ServerCertificate(
        ca_file=folder / "ca.pem", certificate_file=folder / "server.pem", key_file=folder / "server.key"
    )
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Redshift stand-in authority")])
    ca = (
        _builder(subject=ca_name, issuer=ca_name, key=ca_key.public_key(), signer=ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = (
        _builder(
            subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Redshift stand-in")]),
            issuer=ca_name,
            key=server_key.public_key(),
            signer=ca_key.public_key(),
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")), x509.DNSName("localhost")]
            ),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    files.ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    # A container's user reads it through a mount, whatever the umask here.
    files.ca_file.chmod(0o644)
    files.certificate_file.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    _write_private(
        files.key_file,
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    return files


def _builder(
    *, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_TOLERANCE)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
