# SPDX-License-Identifier: Apache-2.0
"""Pictures in, detections out: letterbox, network and decode as one object, for the pipeline and for evaluation."""
