# SPDX-License-Identifier: Apache-2.0
"""Reads the files of Datasets: valid, distinct samples, and a word about everything else.

A sample is a picture by the sha256 of its bytes. The same picture under another name or in another line is the same
sample. Nothing that a file holds stops a reading; only a file that is not there has no samples.
"""

from helmet_cloud.datasets.reader import DatasetReader
from helmet_cloud.datasets.reading import Reading, Sample

__all__ = ["DatasetReader", "Reading", "Sample"]
