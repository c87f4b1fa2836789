# SPDX-License-Identifier: Apache-2.0
"""Runs train and eval workers, and the workers themselves."""
