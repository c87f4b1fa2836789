# SPDX-License-Identifier: Apache-2.0
"""``python -m helmet_demo OUT``: the part of `make demo` that begins where Ansible has made the node."""

import sys

from helmet_demo.story import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
