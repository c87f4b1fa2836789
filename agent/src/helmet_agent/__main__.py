# SPDX-License-Identifier: Apache-2.0
"""``python -m helmet_agent`` is ``helmet-agent``."""

import sys

from helmet_agent.cli import main

sys.exit(main())
