# SPDX-License-Identifier: Apache-2.0
"""Takes every secret that this node has out of texts that leave it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from helmet_agent.credentials import read_credentials
from helmet_agent.errors import AgentError
from helmet_agent.redaction import MASK, redact_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from helmet_agent.config import AgentConfig

SHORTEST = 4
"""Shorter words are too common to be taken out wherever they stand; in an address they are gone all the same."""

_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_TOKEN = re.compile(r"\bhmt_[A-Za-z0-9_-]{8,}")
_AUTHORIZATION = re.compile(r"(?P<scheme>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
# A key of the configuration that looks like a secret and is no path of one: nobody should write it, somebody will.
_ASSIGNED = re.compile(
    r"(?P<key>[\w.-]*(?:password|passwd|secret|token|credential)[\w.-]*(?<!_file)[\"']?[ \t]*[=:][ \t]*)"
    r"(?P<quote>[\"'])"
    r"(?:(?!(?P=quote)).)+(?P=quote)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Scrubber:
    """Masks secrets.

    Attributes:
        words: the node's own secrets, in every spelling that a text may have them in; longest first.
    """

    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: AgentConfig | None) -> Scrubber:
        """Knows what the configuration and the files it names keep secret, as far as they can be read."""
        found = set() if config is None else {word for word in _secrets(config) if len(word) >= SHORTEST}
        spelt = found | {quote(word, safe="") for word in found} | {json.dumps(word)[1:-1] for word in found}
        return cls(tuple(sorted(spelt, key=lambda word: (-len(word), word))))

    def __call__(self, text: str) -> str:
        """The text with a mask in each secret's place."""
        text = redact_url(_PRIVATE_KEY.sub(MASK, text))
        for word in self.words:
            text = text.replace(word, MASK)
        text = _AUTHORIZATION.sub(rf"\g<scheme>{MASK}", _TOKEN.sub(MASK, text))
        return _ASSIGNED.sub(rf'\g<key>"{MASK}"', text)


def _secrets(config: AgentConfig) -> Iterator[str]:
    for source in config.sources:
        try:
            parts = urlsplit(source.url)
        except ValueError:
            parts = urlsplit("")
        if parts.password:
            yield from (parts.password, unquote(parts.password))
        if source.credentials_file is not None:
            try:
                credentials = read_credentials(source.credentials_file)
            except AgentError:
                continue
            yield credentials.password
    for path in (config.hub.token_file, config.api.token_file):
        yield from _token(path)


def _token(path: Path | None) -> Iterator[str]:
    if path is None:
        return
    try:
        yield path.read_text(errors="replace").strip()
    except OSError:
        return
