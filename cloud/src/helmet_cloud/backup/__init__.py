# SPDX-License-Identifier: Apache-2.0
"""A hub's folder as one file, taken while the hub runs, and made into a folder again."""

from helmet_cloud.backup.reading import restore
from helmet_cloud.backup.writing import Saved, backup

__all__ = ["Saved", "backup", "restore"]
