# SPDX-License-Identifier: Apache-2.0
"""The edge agent: detects helmets, mines hard examples, keeps its memory limit and swaps in better models."""

__version__ = "0.1.0"
