# SPDX-License-Identifier: Apache-2.0
"""What ``args: ["eval.py"]`` of a job's template starts: the eval worker."""

import runpy

if __name__ == "__main__":
    runpy.run_module("helmet_cloud.workers.eval", run_name="__main__", alter_sys=True)
