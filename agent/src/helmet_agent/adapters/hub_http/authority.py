# SPDX-License-Identifier: Apache-2.0
"""Whose certificates are believed. Standard library only."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from helmet_agent.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Checks certificates and host names against one authority, or against the machine's own list (None).

    Raises:
        ConfigError: the file cannot be read or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise ConfigError(f"{ca_file}: expected certificates in PEM form, found something else") from error
    except OSError as error:
        raise ConfigError(f"{ca_file}: the authority's certificate cannot be read: {error.strerror}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
