# SPDX-License-Identifier: Apache-2.0
"""What cannot be right about a hub's certificate that the user gives, told before any host is touched."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes


def faults(certificate: bytes, key: bytes, authority: bytes, host: str, now: dt.datetime) -> Iterator[str]:
    """All that is wrong with the three files together.

    Args:
        certificate: PEM; the hub's own first, then those between it and the authority.
        key: PEM, without a pass phrase.
        authority: PEM of what clients are to trust.
        host: the name or address that nodes use; empty where it is not known.
        now: with a time zone.
    """
    try:
        chain = x509.load_pem_x509_certificates(certificate)
    except ValueError:
        yield "helmet_hub_tls_certificate: expected certificates as PEM text"
        return
    try:
        trusted = x509.load_pem_x509_certificates(authority)
    except ValueError:
        yield "helmet_hub_tls_ca: expected certificates as PEM text"
        return
    own = chain[0]
    yield from _key(own, key)
    if own.not_valid_after_utc < now:
        yield f"helmet_hub_tls_certificate: it ended on {own.not_valid_after_utc:%Y-%m-%d}; give a new one"
    elif own.not_valid_before_utc > now:
        yield f"helmet_hub_tls_certificate: it begins on {own.not_valid_before_utc:%Y-%m-%d} only"
    if not _leads_to(chain, trusted):
        yield (
            "helmet_hub_tls_ca did not sign helmet_hub_tls_certificate: give the authority that did, and put "
            "certificates between the two behind the hub's own in helmet_hub_tls_certificate"
        )
    if host and not _is_for(own, host):
        yield f"helmet_hub_tls_certificate: it is not for {host}, by which nodes reach the hub"


def _key(own: x509.Certificate, key: bytes) -> Iterator[str]:
    try:
        private = load_pem_private_key(key, password=None)
    except TypeError:
        yield "helmet_hub_tls_key: it has a pass phrase, which nobody could type when the hub starts; give it without"
    except ValueError:
        yield "helmet_hub_tls_key: expected a private key as PEM text"
    else:
        if _public_bytes(private.public_key()) != _public_bytes(own.public_key()):
            yield "helmet_hub_tls_key is not the key of helmet_hub_tls_certificate: give the two that belong together"


def _public_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _leads_to(chain: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate]) -> bool:
    """Whether each certificate is signed by the next one, and one of them is signed by, or is, what is trusted."""
    for place, one in enumerate(chain):
        if one in trusted or any(_signed_by(one, authority) for authority in trusted):
            return True
        if place + 1 == len(chain) or not _signed_by(one, chain[place + 1]):
            return False
    return False


def _signed_by(one: x509.Certificate, other: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(other)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_for(own: x509.Certificate, host: str) -> bool:
    """Whether one of its alternative names is the host's; a star stands for one label, the first (RFC 6125, 6.4.3)."""
    try:
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        wanted = host.lower().rstrip(".")
        starred = "*." + wanted.partition(".")[2]
        return bool({name.lower() for name in names.get_values_for_type(x509.DNSName)} & {wanted, starred})
    return address in names.get_values_for_type(x509.IPAddress)
