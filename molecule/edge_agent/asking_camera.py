# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 - a script that is run on the host
"""A camera that lets nobody in: asks for user name and password, and writes down what it is given.

Arguments: PORT FILE
"""

from __future__ import annotations

import socketserver
import sys
from pathlib import Path

REFUSAL = 'RTSP/1.0 401 Unauthorized\r\nCSeq: {number}\r\nWWW-Authenticate: Basic realm="camera"\r\n\r\n'


class Visitor(socketserver.StreamRequestHandler):
    """One connection: any number of requests, each refused."""

    def handle(self) -> None:
        """Answers until the visitor leaves."""
        number = "0"
        for line in self.rfile:
            name, _, value = line.decode("latin-1").strip().partition(":")
            if name == "CSeq":
                number = value.strip()
            elif name == "Authorization":
                Path(sys.argv[2]).write_text(value.strip())
            elif not name:
                self.wfile.write(REFUSAL.format(number=number).encode())


if __name__ == "__main__":
    socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Visitor).serve_forever()
