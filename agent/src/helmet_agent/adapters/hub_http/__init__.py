# SPDX-License-Identifier: Apache-2.0
"""The hub over HTTPS. Nothing is imported here: ``client`` loads httpx, which only who talks to the hub needs."""
