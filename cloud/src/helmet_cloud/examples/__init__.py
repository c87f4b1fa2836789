# SPDX-License-Identifier: Apache-2.0
"""Hard examples on the hub: taken in once, kept as long as they are used, handed out to be labelled."""
