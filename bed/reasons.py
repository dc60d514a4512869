# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists of exceptions, each with its reason: lines "KEY: why", empty ones, and
comments that begin with "#".

Standard library only.
"""

import sys


def read(path: str, key: str) -> dict[str, str]:
    """{KEY: why}. key: what such a KEY is, for the error about a wrong line."""
    reasons: dict[str, str] = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            name, colon, why = line.partition(": ")
            if not colon or not why or name in reasons:
                sys.exit(f"{path}:{number}: expected a line \"{key}: why\", one for each: {line}")
            reasons[name] = why
    return reasons
