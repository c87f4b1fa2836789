# SPDX-License-Identifier: Apache-2.0
"""Polls without news use one connection: over TLS a new one costs more than the poll."""

from __future__ import annotations

import http.server
import threading

from helmet_agent.adapters.tuf_feed import HttpTransport


def test_polls_without_news_use_one_connection() -> None:
    clients = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            clients.append(self.client_address)
            self.send_response(304)
            self.send_header("ETag", '"a"')
            self.end_headers()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    transport = HttpTransport(f"http://127.0.0.1:{server.server_address[1]}/", None, 5.0)
    try:
        for _ in range(5):
            with transport.open("metadata/timestamp.json", known_etag='"a"') as body:
                assert body.unchanged
    finally:
        transport.close()
        server.shutdown()
        server.server_close()
    assert len(clients) == 5
    assert len(set(clients)) == 1
