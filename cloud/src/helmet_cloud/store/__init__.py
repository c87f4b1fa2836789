# SPDX-License-Identifier: Apache-2.0
"""Rows and files: the only place that knows SQL."""
