# SPDX-License-Identifier: Apache-2.0
"""The signed model channel: a TUF repository of static files."""
