# SPDX-License-Identifier: Apache-2.0
"""The hub's own certificate authority and its server certificate: ECDSA P-256, which every client takes."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from helmet_agent.durable import make_folder, reported, write_atomic, write_atomic_group
from helmet_cloud.errors import HubError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CA_DAYS, SERVER_DAYS = 3650, 730
RENEW_DAYS = 60
"""A server certificate of our own CA with fewer days left is made anew by the serving hub."""

_EARLY = dt.timedelta(hours=1)
"""Certificates are valid a little before they were made: the clocks of nodes differ."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of ``DIR/tls``. Where there is no ``ca.key`` the certificates were given, and we only read them.

    Attributes:
        folder: the folder.
    """

    folder: Path

    @property
    def ca(self) -> Path:
        """Certificate that clients trust."""
        return self.folder / "ca.crt"

    @property
    def ca_key(self) -> Path:
        """Its key."""
        return self.folder / "ca.key"

    @property
    def certificate(self) -> Path:
        """The server's certificate."""
        return self.folder / "server.crt"

    @property
    def key(self) -> Path:
        """The server's key."""
        return self.folder / "server.key"

    @property
    def chain(self) -> Path:
        """The file with the server's certificate: beside the key in one file where we made both."""
        with reported("read", self.key):
            both = b"BEGIN CERTIFICATE" in self.key.read_bytes()
        return self.key if both else self.certificate

    def days_left(self, now: float) -> float:
        """Until the server's certificate expires.

        Raises:
            HubError: it is not there or cannot be read.
        """
        return (_certificate(self.certificate).not_valid_after_utc.timestamp() - now) / 86400.0

    def names(self) -> list[str]:
        """Host names and addresses that the server's certificate is for.

        Raises:
            HubError: it is not there or cannot be read.
        """
        found = _certificate(self.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]


def make_authority(files: TlsFiles, now: float) -> None:
    """Makes the CA, if there is none.

    Raises:
        StorageError: it cannot be written.
    """
    if files.ca.exists():
        return
    make_folder(files.folder, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "helmet hub CA")])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    made = (
        _builder(name, name, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_atomic(files.ca_key, _private(key), mode=0o600)
    write_atomic(files.ca, made.public_bytes(Encoding.PEM), mode=0o644)


def make_server(files: TlsFiles, hosts: Sequence[str], now: float) -> None:
    """Makes the server's key and certificate for these names and addresses, replacing what is there.

    Raises:
        HubError: the CA's key is not there or cannot be read.
        StorageError: it cannot be written.
    """
    authority, authority_key = _certificate(files.ca), _key(files.ca_key)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "helmet hub")])
    issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    made = (
        _builder(name, authority.subject, key.public_key(), now, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    # Key and certificate in one file, so that no crash leaves a pair that does not belong together.
    both = made.public_bytes(Encoding.PEM) + authority.public_bytes(Encoding.PEM)
    write_atomic_group(files.folder, {files.key.name: _private(key) + both}, mode=0o600)
    write_atomic(files.certificate, both, mode=0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, days: int
) -> x509.CertificateBuilder:
    begin = dt.datetime.fromtimestamp(now, dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - _EARLY)
        .not_valid_after(begin + dt.timedelta(days=days))
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _certificate(path: Path) -> x509.Certificate:
    try:
        with reported("read", path):
            return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise HubError(f"{path} is no certificate: {error}") from error


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        with reported("read", path):
            found = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise HubError(f"{path} is no private key: {error}") from error
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise HubError(f"{path} is no ECDSA key")
    return found
