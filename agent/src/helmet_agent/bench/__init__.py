# SPDX-License-Identifier: Apache-2.0
"""Measures the agent on the machine it stands on, always as a ratio to something that runs beside it."""
