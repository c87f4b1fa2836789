# SPDX-License-Identifier: Apache-2.0
"""The three kinds of sedna.io/v1alpha1: fields, validation, advice."""
