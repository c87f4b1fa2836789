# SPDX-License-Identifier: Apache-2.0
"""The job controller: drives every job through its rounds."""
