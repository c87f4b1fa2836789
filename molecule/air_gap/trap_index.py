# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 - a script
"""``trap_index.py PORT``: on loopback, a package index that has a wrong version of everything; tells each request."""

from __future__ import annotations

import io
import sys
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WRONG = "99.0"


def wheel(name: str) -> bytes:
    """A wheel that pip takes, and that holds nothing."""
    about = f"{name}-{WRONG}.dist-info"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {WRONG}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return packed.getvalue()


class Index(BaseHTTPRequestHandler):
    """``/simple/NAME/`` offers one wheel, and hands it out."""

    def do_GET(self) -> None:
        """Answers every request."""
        name = self.path.split("/")[2].replace("-", "_")
        file = f"{name}-{WRONG}-py3-none-any.whl"
        page = f'<!DOCTYPE html><a href="{file}">{file}</a>'.encode()
        content = wheel(name) if self.path.endswith(".whl") else page
        self.send_response(200)
        self.send_header("Content-Type", "application/zip" if self.path.endswith(".whl") else "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Index).serve_forever()
