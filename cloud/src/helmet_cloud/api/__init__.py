# SPDX-License-Identifier: Apache-2.0
"""What the hub answers over HTTP."""
