# SPDX-License-Identifier: Apache-2.0
"""The only readers and writers of annotations: Sedna's text format, YOLO's, COCO's, Label Studio's.

Readers never fail on what a file holds: what cannot be right becomes a ``LabelProblem`` with file, line and reason,
and is left out. They fail (``SourceMissing``) only where there is no file to read.
"""

from helmet_cloud.labels.checks import Shelf, Unfit
from helmet_cloud.labels.classes import DROP, IGNORE, ClassMap
from helmet_cloud.labels.coco import read_coco, write_coco
from helmet_cloud.labels.formats import LabelFormat, picture_folder, read_labels, write_labels
from helmet_cloud.labels.labelstudio import read_labelstudio, write_labelstudio
from helmet_cloud.labels.model import (
    LABELS,
    IgnoreRegion,
    LabelBox,
    LabelledPicture,
    LabelProblem,
    LabelSet,
)
from helmet_cloud.labels.picture import picture_size, read_picture
from helmet_cloud.labels.placing import Placing, place_pictures
from helmet_cloud.labels.sedna import append_sedna, read_sedna, sedna_line, write_sedna
from helmet_cloud.labels.yolo import read_yolo, write_yolo

__all__ = [
    "DROP",
    "IGNORE",
    "LABELS",
    "ClassMap",
    "IgnoreRegion",
    "LabelBox",
    "LabelFormat",
    "LabelProblem",
    "LabelSet",
    "LabelledPicture",
    "Placing",
    "Shelf",
    "Unfit",
    "append_sedna",
    "picture_folder",
    "picture_size",
    "place_pictures",
    "read_coco",
    "read_labels",
    "read_labelstudio",
    "read_picture",
    "read_sedna",
    "read_yolo",
    "sedna_line",
    "write_coco",
    "write_labels",
    "write_labelstudio",
    "write_sedna",
    "write_yolo",
]
