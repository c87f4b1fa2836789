# SPDX-License-Identifier: Apache-2.0
"""Train the helmet detector, and export it as the int8 file that ships.

The modules import TensorFlow only where they need it; the rest of the cloud never does.
"""
