# SPDX-License-Identifier: Apache-2.0
"""What the doctor looks at about new models: whom the node trusts for them, and whether it has the newest."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from helmet_agent.adapters.model_store import ModelStore
from helmet_agent.app.doctor import FAILED, OK, SKIPPED, Finding
from helmet_agent.app.updates import models_folder
from helmet_agent.errors import AgentError, UntrustedError
from helmet_agent.services.update_journal import replay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helmet_agent.config import AgentConfig
    from helmet_agent.ports import Clock, ModelOffer
    from helmet_agent.services.update_state import UpdateState

_AGAIN = "copy the hub's root.json again"


def trust_root(config: AgentConfig) -> Iterator[Finding]:
    """Whether the node has the keys by which it knows the channel."""
    path = config.updates.root_file
    if not config.updates.enabled or path is None:
        yield Finding("trust root", SKIPPED, "no channel is followed")
        return
    from helmet_agent.adapters.tuf_feed import check_root  # noqa: PLC0415 - loads TUF

    try:
        check_root(path.read_bytes())
    except OSError as error:
        yield Finding("trust root", FAILED, f"{path}: cannot be read: {error.strerror}; {_AGAIN}")
    except ValueError as error:
        yield Finding("trust root", FAILED, f"{path}: {error}; {_AGAIN}")
    else:
        yield Finding("trust root", OK, f"{path}: signed root metadata")


def release(config: AgentConfig, clock: Clock) -> Iterator[Finding]:
    """Whether the newest model of the channel is the one that serves, and else what is in its way."""
    settings = config.updates
    if not settings.enabled or settings.channel_url is None or settings.root_file is None:
        yield Finding("release", SKIPPED, "no channel is followed")
        return
    try:
        offer = _offer(config, clock)
    except UntrustedError as error:
        what = "does another hub sign it, or has nobody signed it for long (`helmet-cloud serve` does)?"
        yield Finding("channel", FAILED, f"{settings.channel_url}: {error}; {what} If it is another: {_AGAIN}")
        return
    except (AgentError, OSError, ValueError) as error:
        yield Finding("channel", FAILED, f"{settings.channel_url}: {error}")
        return
    yield Finding("channel", OK, f"{settings.channel_url}: verified")
    if offer is None:
        yield Finding("release", OK, f"nothing is published for {settings.follow} in the ring {settings.ring}")
    else:
        yield _compared(_state(config), offer)


def _compared(state: UpdateState | None, offer: ModelOffer) -> Finding:
    offered = offer.manifest.release
    digest = offer.manifest.model.sha256
    serving = "the configured model" if state is None else f"release {state.current.release}"
    if state is not None and state.current.key == offer.key:
        return Finding("release", OK, f"release {offered} serves, the newest")
    if state is not None and state.candidate is not None and state.candidate.key == offer.key:
        return Finding("release", OK, f"release {offered} is on its way: {state.phase.value}")
    found = f"stale: {serving} serves, the channel has release {offered}"
    for refusal in () if state is None else state.quarantined:
        if refusal.model.key == offer.key or refusal.model.sha256 == digest:
            mend = f"publish another one, or `helmet-agent models unquarantine {digest}`"
            return Finding("release", FAILED, f"{found}, which is in quarantine: {refusal.reason}; {mend}")
    return Finding("release", FAILED, f"{found}; does the agent run? `helmet-agent health` says what keeps it from it")


def _offer(config: AgentConfig, clock: Clock) -> ModelOffer | None:
    """What the channel has, asked into a folder of this moment's own: the doctor changes nothing."""
    from helmet_agent.adapters.tuf_feed import Channel, HttpTransport, TufFeed  # noqa: PLC0415 - loads TUF

    settings = config.updates
    root = b"" if settings.root_file is None else settings.root_file.read_bytes()
    transport = HttpTransport(settings.channel_url or "", settings.ca_file, settings.timeout_seconds, settings.proxy)
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(transport):
        return TufFeed(transport, Channel(settings.follow or "", settings.ring, root), Path(folder), clock).check()


def _state(config: AgentConfig) -> UpdateState | None:
    if not models_folder(config).is_dir():
        return None
    return replay(ModelStore(models_folder(config), read_only=True).journal())
