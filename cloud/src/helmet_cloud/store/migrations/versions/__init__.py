# SPDX-License-Identifier: Apache-2.0
"""One file a revision, named by its number; a revision that was released is never changed."""
