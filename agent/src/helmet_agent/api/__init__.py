# SPDX-License-Identifier: Apache-2.0
"""The node's own HTTP interface.

``views``, ``broadcast`` and ``preview`` are standard library only, for whoever wires the node; ``app.create_api`` and
``server.ApiServer`` load FastAPI and uvicorn, so they are imported after the first detection.
"""
