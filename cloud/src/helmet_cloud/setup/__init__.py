# SPDX-License-Identifier: Apache-2.0
"""Makes a hub's folder: settings, certificates, keys, tokens, kubeconfig."""

from helmet_cloud.setup.steps import InitOptions, InitReport, initialise

__all__ = ["InitOptions", "InitReport", "initialise"]
