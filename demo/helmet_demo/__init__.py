# SPDX-License-Identifier: Apache-2.0
"""What `make demo` shows: the whole loop on one machine."""
