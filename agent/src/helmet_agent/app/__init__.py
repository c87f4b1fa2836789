# SPDX-License-Identifier: Apache-2.0
"""The composition root: the only room that knows every part and puts them together."""
