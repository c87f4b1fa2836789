# SPDX-License-Identifier: Apache-2.0
"""Every error the agent raises on purpose.

::

    AgentError                 one line for the operator; exit code 1
     +-- UsageError            bad command line                                     exit 2
     +-- ConfigError           bad configuration: file, key, what was expected      exit 2
     +-- ModelError            a model that cannot be served: shape, NaN, truncated exit 1
     |    +-- ManifestError    its manifest is missing or cannot be right           (ModelError's code)
     +-- SourceError           a source that cannot be read
     |    +-- SourceMissing    it is not there or is no picture or video: retrying will not help for files
     |    +-- SourceLost       it was there and stopped: a live source is reopened
     +-- StorageError          disk full, read-only, no permission
     +-- HubError              the hub did not do what it was asked
     |    +-- HubUnavailable   nobody answers, or not now: the same is tried again later
     |    +-- HubDenied        the token is not accepted
     |    +-- HubRefused       it does not take this very example
     +-- UpdateError           a new model could not be taken this time, tried again later: network, time-out, probe
     |    +-- UntrustedError   what the channel says is forged, expired or older than what was seen before
     +-- RefusedError          a model or a request that the updater will not take, with the reason
     +-- RestartWanted         leave cleanly and be started again                   exit 75
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_RESTART = 75


class AgentError(Exception):
    """Base of all errors with a message that an operator can act on.

    Attributes:
        exit_code: what the command line returns when this error ends it.
    """

    exit_code = EXIT_FAILED


class UsageError(AgentError):
    """The command line makes no sense as given."""

    exit_code = EXIT_USAGE


class ConfigError(AgentError):
    """The configuration cannot be used; never restarted, since a restart would read the same file."""

    exit_code = EXIT_USAGE


class ModelError(AgentError):
    """A model file that must not be served."""


class ManifestError(ModelError):
    """A manifest that is missing, unreadable or contradicts itself or its model."""


class SourceError(AgentError):
    """A source of frames failed."""


class SourceMissing(SourceError):  # noqa: N818 - reads as the state of the source that it names
    """Nothing readable is at that address."""


class SourceLost(SourceError):  # noqa: N818 - as above
    """The source delivered before and has stopped."""


class StorageError(AgentError):
    """Files cannot be written or read back: full disk, read-only file system, permissions."""


class UpdateError(AgentError):
    """The surroundings kept a new model away; nothing is held against the model, and it is tried again."""


class UntrustedError(UpdateError):
    """The channel's metadata does not verify."""


class RefusedError(AgentError):
    """The updater will not do that, whoever asks for it."""


class HubError(AgentError):
    """The hub did not do what it was asked."""


class HubUnavailable(HubError):  # noqa: N818 - reads as the state of the hub
    """No answer, or none that helps now; the same is tried again.

    Attributes:
        retry_after_seconds: how long the hub asked to be left alone; None when it said nothing.
        suspect: whether what was sent may be the cause, since the hub was there when it failed.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None, suspect: bool = False) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.suspect = suspect


class HubDenied(HubError):  # noqa: N818 - as above
    """The token is unknown, revoked, or not this node's.

    Attributes:
        known: whether the hub knows the token and denies it for what was asked.
    """

    def __init__(self, message: str, *, known: bool = False) -> None:
        super().__init__(message)
        self.known = known


class HubRefused(HubError):  # noqa: N818 - as above
    """The hub is well and does not take this very example.

    Attributes:
        for_good: sending it again cannot help; False when the hub's limits may change.
        certain: nothing that may have happened to the example on its way can be the cause.
    """

    def __init__(self, message: str, *, for_good: bool, certain: bool = False) -> None:
        super().__init__(message)
        self.for_good = for_good
        self.certain = certain


class RestartWanted(AgentError):  # noqa: N818 - a request rather than a fault
    """The process has flushed its state and asks its supervisor for a fresh start."""

    exit_code = EXIT_RESTART
