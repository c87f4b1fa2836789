# SPDX-License-Identifier: Apache-2.0
"""Errors of the hub that an HTTP client is told about.

::

    AgentError                 (helmet_agent.errors) one line for the operator
     +-- HubError              something asked of the hub cannot be done      500
          +-- BadRequest       what was sent cannot be right                  400
          +-- Unauthorized     no token, or one that nobody knows             401
          +-- Forbidden        the token's scope does not reach so far        403
          +-- NotFound         there is no such thing                         404
          +-- TooSlow          the request did not arrive in time             408
          +-- Conflict         it is there already, or changed meanwhile      409
          +-- LengthRequired   it does not say how long it is                 411
          +-- TooLarge         more bytes than are taken                      413
          +-- Busy             try again later                                429
          +-- OutOfSpace       the disk is full; nothing was kept             507
"""

from __future__ import annotations

from helmet_agent.errors import AgentError


class HubError(AgentError):
    """Base: a message that a client can act on.

    Attributes:
        status: the HTTP status that says the same.
    """

    status = 500


class BadRequest(HubError):  # noqa: N818 - HTTP's own name
    """What was sent cannot be right; sending it again will not help."""

    status = 400


class Unauthorized(HubError):  # noqa: N818 - as above
    """No token, or one that is unknown or revoked."""

    status = 401


class Forbidden(HubError):  # noqa: N818 - as above
    """The token is known, its scope does not reach so far."""

    status = 403


class NotFound(HubError):  # noqa: N818 - as above
    """There is no such thing."""

    status = 404


class TooSlow(HubError):  # noqa: N818 - as above
    """The request did not arrive in time."""

    status = 408


class Conflict(HubError):  # noqa: N818 - as above
    """It is there already with another content, or it changed since it was read."""

    status = 409


class LengthRequired(HubError):  # noqa: N818 - as above
    """The request does not say how long it is."""

    status = 411


class TooLarge(HubError):  # noqa: N818 - as above
    """More bytes than are taken."""

    status = 413


class Busy(HubError):  # noqa: N818 - as above
    """Not now; try again later."""

    status = 429


class OutOfSpace(HubError):  # noqa: N818 - as above
    """The disk is full; nothing was kept."""

    status = 507
