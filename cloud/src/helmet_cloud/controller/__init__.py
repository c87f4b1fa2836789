# SPDX-License-Identifier: Apache-2.0
"""The loop: looks at every job, keeps what it decides, then does it."""

from helmet_cloud.controller.loop import JobController

__all__ = ["JobController"]
