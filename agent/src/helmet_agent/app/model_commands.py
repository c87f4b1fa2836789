# SPDX-License-Identifier: Apache-2.0
"""``helmet-agent models``: what models this node has, and an operator's say in which one serves.

Only one process moves the pointers. Beside a running agent a command leaves a request and waits for the answer; where
no agent runs, it owns the folder for the moment and acts itself.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from helmet_agent.adapters.model_store import ModelStore
from helmet_agent.app.bundles import remove, unpack
from helmet_agent.app.models import load_detector
from helmet_agent.app.settings import settings_from_file
from helmet_agent.app.system_clock import SystemClock, make_calendar
from helmet_agent.app.updates import (
    LateFeed,
    base_model,
    bundle_feed,
    check_update_files,
    make_probe,
    make_updater,
    models_folder,
    open_models,
)
from helmet_agent.errors import ConfigError, RefusedError
from helmet_agent.logs import configure_logging
from helmet_agent.services.probation import Vitals
from helmet_agent.services.update_journal import replay
from helmet_agent.services.update_loop import import_from, state_name
from helmet_agent.services.update_state import UpdateState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from helmet_agent.app.updates import Models
    from helmet_agent.config import AgentConfig
    from helmet_agent.services.probation import Opinion
    from helmet_agent.services.update_events import ModelRef
    from helmet_agent.services.updater import Updater

ANSWER_SECONDS = 5.0
"""How long a command waits for the running agent; an import, which is tried first, for longer."""

IMPORT_SECONDS = 120.0
LOOK_SECONDS = 0.1


def list_models(config_file: Path) -> dict[str, Any]:
    """What the node has: one JSON object.

    Raises:
        ConfigError: the configuration cannot be used, or takes no new models. StorageError: the folder cannot be read.
    """
    config = _config(config_file)
    store = ModelStore(models_folder(config), read_only=True)
    state = replay(store.journal())
    if state is None:  # the agent has not run yet
        base = base_model(config)[0]
        state = UpdateState(current=base, history=(base,))
    seen: dict[str, ModelRef] = {one.key: one for one in (state.current, *state.history)}
    return {
        "state": state_name(state),
        "job": config.updates.follow,
        "ring": config.updates.ring,
        "current": _shown(state.current),
        "last_confirmed": _shown(state.last_confirmed),
        "candidate": None if state.candidate is None else _shown(state.candidate),
        "models": [_shown(one) for one in seen.values()],
        "quarantined": [{**_shown(one.model), "reason": one.reason} for one in state.quarantined],
    }


def text_of(listing: dict[str, Any]) -> str:
    """``list_models`` for people."""
    current, confirmed = listing["current"], listing["last_confirmed"]
    lines = [f"following {listing['job']}, ring {listing['ring']}: {listing['state']}"]
    for one in listing["models"]:
        marks = ["serves"] if one == current else []
        marks += ["last confirmed"] if one == confirmed else []
        lines.append(f"  release {one['release']:<6} {one['sha256']}  {', '.join(marks) or 'earlier'}")
    if listing["candidate"] is not None and listing["candidate"] != current:
        one = listing["candidate"]
        lines.append(f"  release {one['release']:<6} {one['sha256']}  on its way")
    lines += [
        f"  release {one['release']:<6} {one['sha256']}  in quarantine: {one['reason']}"
        for one in listing["quarantined"]
    ]
    return "\n".join(lines)


def roll_back(config_file: Path) -> str:
    """Goes back to the model before the current one, which goes into quarantine; returns one line.

    Raises:
        RefusedError: there is no earlier model.
    """
    leaving = list_models(config_file)["current"]["manifest"]

    def here(updater: Updater, _models: Models) -> str:
        model = updater.roll_back(leaving)
        return f"back to release {model.release}, {model.sha256}"

    return _do(config_file, "rollback", leaving, here, ANSWER_SECONDS)


def unquarantine(config_file: Path, digest: str) -> str:
    """Lets a model be tried again; returns one line.

    Raises:
        RefusedError: it is not in quarantine.
    """

    def here(updater: Updater, _models: Models) -> str:
        lifted = updater.unquarantine(digest)
        return f"{lifted} model{'' if lifted == 1 else 's'} may be tried again"

    return _do(config_file, "unquarantine", digest, here, ANSWER_SECONDS)


def import_bundle(config_file: Path, bundle: Path) -> str:
    """Takes the model of a bundle, verified like the channel; returns one line.

    Raises:
        UsageError: it is no bundle. RefusedError: its model is not taken. UntrustedError: it does not verify.
    """
    config = _config(config_file)
    check_update_files(config)
    store = ModelStore(models_folder(config), read_only=True)
    name = secrets.token_hex(8)
    folder = store.desk.bundle_folder(name)

    def here(updater: Updater, models: Models) -> str:
        clock = SystemClock()
        return import_from(updater, bundle_feed(config, models.store, folder, clock, make_calendar(config, clock)))

    try:
        unpack(bundle, folder)
        return _do(config_file, "import", name, here, IMPORT_SECONDS)
    except BaseException:
        remove(folder)
        raise


def _do(
    config_file: Path, action: str, argument: str, here: Callable[[Updater, Models], str], patience_seconds: float
) -> str:
    config = _config(config_file)
    configure_logging("error")
    folder = models_folder(config)
    if ModelStore.owned(folder):
        return _ask(ModelStore(folder, read_only=True), action, argument, patience_seconds)
    clock = SystemClock()
    models = open_models(config, clock)
    try:
        feed, probe = LateFeed(config, models.store, clock, make_calendar(config, clock)), make_probe(config)
        live = _NobodyServes(config)
        return here(make_updater(config, models, live, clock, feed=feed, probe=probe, cold=True), models)
    finally:
        models.close()
        if action == "import":
            remove(models.store.desk.bundle_folder(argument))


def _ask(store: ModelStore, action: str, argument: str, patience_seconds: float) -> str:
    request = store.desk.leave(action, argument)
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        answer = store.desk.answer_to(request)
        if answer is not None:
            done, text = answer
            if not done:
                raise RefusedError(text)
            return text
        time.sleep(LOOK_SECONDS)
    return "the running agent is busy; it takes the request as soon as it can, and `helmet-agent models list` shows it"


def _config(config_file: Path) -> AgentConfig:
    config = settings_from_file(config_file)
    if not config.updates.enabled:
        raise ConfigError(f"{config_file}: updates.enabled is false: this node serves its configured model only")
    return config


def _shown(model: ModelRef) -> dict[str, Any]:
    return {"sha256": model.sha256, "release": model.release, "name": model.name, "manifest": model.key}


class _NobodyServes:
    """Implements ``services.live_model.LiveModel`` where no agent runs: a model is loaded to see that it can serve."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config

    def load(self, folder: Path) -> None:
        load_detector(self._config, folder)

    def keep(self, folder: Path) -> None:
        load_detector(self._config, folder)

    def swap(self) -> None:
        """Nobody to swap it for."""

    def back(self) -> bool:
        return True

    def settle(self) -> None:
        """Nothing to let go of."""

    def vitals(self) -> Vitals:
        return Vitals()

    def opinion(self) -> Opinion | None:
        return None

    def golden_problems(self) -> Sequence[str]:
        return ()
