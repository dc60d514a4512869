# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reports of data races (KCSAN) on a guest's console: which of them fail a run.

The list names races of stock code, one a line: "FUNCTION: why" or "FUNCTION /
FUNCTION: why", with the functions as the report's first line has them. One
function alone does not excuse a report that has a function of ours in its stacks.

Standard library only.
"""

import re

import reasons

BEGIN = re.compile(r"BUG: KCSAN: (?:[a-z-]+(?:: race)?) in (.+)$")
TIME = re.compile(r"^\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?")
LINE = re.compile(r"={20,}$")
# What a compiler appends to the name of a part or copy of a function.
COPY = re.compile(r"\.(?:constprop|isra|part|cold)(?:\.\d+)?")
# Of a report whose last line is lost.
LONGEST = 80


def read_list(path: str) -> dict[str, str]:
    """{functions: why}"""
    return reasons.read(path, "FUNCTION [/ FUNCTION]")


class Races:
    """Gets the lines of the console, one after the other."""

    def __init__(self, known: dict[str, str], ours: str) -> None:
        self.known = known
        self.ours = re.compile(ours)        # in a line of a stack
        self.seen: dict[str, int] = {}      # those of the list, and how often
        self._functions = ""
        self._lines: list[str] | None = None

    def feed(self, line: str) -> str | None:
        """A sentence if this line ends a report that fails the run, or None."""
        line = TIME.sub("", line.strip())
        match = BEGIN.search(line)
        if match:
            # The end of the previous report was lost.
            sentence = self.end()
            self._functions, self._lines = COPY.sub("", match[1].strip()), []
            return sentence
        if self._lines is None:
            return None
        if LINE.match(line) or len(self._lines) >= LONGEST:
            return self.end()
        self._lines.append(line)
        return None

    def end(self) -> str | None:
        """The same at the end of the console."""
        if self._lines is None:
            return None
        lines, self._lines = self._lines, None
        # The rest names the process, which does not matter here.
        reporter = next((i for i, text in enumerate(lines) if text.startswith("Reported by ")), len(lines))
        lines = lines[:reporter]
        names = self._functions
        key = names if names in self.known else None
        if key is None and not any(self.ours.search(text) for text in [names, *lines]):
            key = next((name for name in names.split(" / ") if name in self.known), None)
        if key is None:
            return f"KCSAN: {names}: {' | '.join(text for text in lines if text)}"
        self.seen[key] = self.seen.get(key, 0) + 1
        return None
