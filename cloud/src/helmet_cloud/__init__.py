# SPDX-License-Identifier: Apache-2.0
"""The cloud half: annotations, training, evaluation, and later the hub that closes the loop."""

__version__ = "0.1.0"
