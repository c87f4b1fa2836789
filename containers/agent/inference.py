# SPDX-License-Identifier: Apache-2.0
"""What ``args: ["inference.py"]`` of a job's template starts: the agent under Sedna's environment."""

import sys

from helmet_agent.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", "--from-sedna-env", *sys.argv[1:]]))
