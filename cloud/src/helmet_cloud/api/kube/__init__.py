# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes-shaped face: what kubectl and ``kubernetes.core.k8s`` need for the three kinds, and no more."""

from helmet_cloud.api.kube.failure import refusal
from helmet_cloud.api.kube.router import kube_router

__all__ = ["kube_router", "refusal"]
