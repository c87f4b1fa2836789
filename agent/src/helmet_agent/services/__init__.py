# SPDX-License-Identifier: Apache-2.0
"""The stages of the agent that run by themselves: pipeline, ingest, mining, memory governor."""
