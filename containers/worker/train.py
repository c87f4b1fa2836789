# SPDX-License-Identifier: Apache-2.0
"""What ``args: ["train.py"]`` of a job's template starts: the train worker."""

import runpy

if __name__ == "__main__":
    runpy.run_module("helmet_cloud.workers.train", run_name="__main__", alter_sys=True)
