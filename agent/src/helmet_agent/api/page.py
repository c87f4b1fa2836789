# SPDX-License-Identifier: Apache-2.0
"""The page for the engineer on site: one file, nothing fetched from anywhere else."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources


@cache
def page() -> bytes:
    """The page; it holds nothing about the node and asks the API for everything."""
    return (resources.files("helmet_agent") / "assets" / "api" / "index.html").read_bytes()


@cache
def content_security_policy() -> str:
    """Lets the page's own script and style run, by their digests, and nothing else."""
    text = page().decode()
    scripts = " ".join(_digest(body) for body in re.findall(r"<script>(.*?)</script>", text, re.DOTALL))
    styles = " ".join(_digest(body) for body in re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _digest(body: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'"
