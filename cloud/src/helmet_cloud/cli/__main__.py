# SPDX-License-Identifier: Apache-2.0
"""``python -m helmet_cloud.cli``."""

import sys

from helmet_cloud.cli import main

sys.exit(main())
