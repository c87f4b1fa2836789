# SPDX-License-Identifier: Apache-2.0
"""New models from the signed channel: a TUF repository, over HTTP or in a folder."""

from helmet_agent.adapters.tuf_feed.feed import Channel, TufFeed
from helmet_agent.adapters.tuf_feed.transport import FolderTransport, HttpTransport, MissingError
from helmet_agent.adapters.tuf_feed.verifier import check_root

__all__ = ["Channel", "FolderTransport", "HttpTransport", "MissingError", "TufFeed", "check_root"]
