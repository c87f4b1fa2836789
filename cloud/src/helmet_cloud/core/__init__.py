# SPDX-License-Identifier: Apache-2.0
"""The rules of the loop as pure functions: no clock, no disk, no network; of this project only the contract."""
