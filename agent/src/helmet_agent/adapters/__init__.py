# SPDX-License-Identifier: Apache-2.0
"""Implementations of the ports, one file each; they know the outside world and nothing of each other."""
