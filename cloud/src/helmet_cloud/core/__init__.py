# SPDX-License-Identifier: Apache-2.0
"""The rules of the loop as pure code: no I/O, no clock, no randomness of their own."""
