# SPDX-License-Identifier: Apache-2.0
"""The only readers and writers of annotations."""

from helmet_cloud.labels.model import (
    LABELS,
    IgnoreRegion,
    LabelBox,
    LabelledPicture,
    LabelProblem,
    LabelSet,
)

__all__ = ["LABELS", "IgnoreRegion", "LabelBox", "LabelProblem", "LabelSet", "LabelledPicture"]
