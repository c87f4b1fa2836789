# SPDX-License-Identifier: Apache-2.0
"""Reads a JSON file of annotations, whatever it holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from helmet_agent.errors import SourceMissing

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_cloud.labels.checks import Reading

MAX_FILE_BYTES = 512 << 20


def read_json(reading: Reading, file: Path) -> Any:
    """The document; None, and a problem in ``reading``, when there is none.

    Raises:
        SourceMissing: the file is not there or cannot be read.
    """
    try:
        if not file.is_file():
            raise SourceMissing(f"no such annotation file: {file}")
        if file.stat().st_size > MAX_FILE_BYTES:
            reading.report(f"larger than {MAX_FILE_BYTES >> 20} MiB: split it")
            return None
        content = file.read_bytes()
    except OSError as error:
        raise SourceMissing(f"annotation file cannot be read ({error.strerror}): {file}") from error
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        reading.report(f"no JSON: {error.msg} at column {error.colno}", error.lineno)
    except (ValueError, RecursionError) as error:
        reading.report(f"no JSON: {' '.join(str(error).split())[:200]}")
    return None
