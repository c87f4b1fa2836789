# SPDX-License-Identifier: Apache-2.0
"""Pure image work: numpy and OpenCV functions on arrays, no files, no clocks, no network."""
