"""When two captions are identical: the single rule for audits, ceilings and the duplicate-aware recall."""

from __future__ import annotations

import re

_DROPPED = re.compile(r"[^\w\s]|_")


def normal_form(caption: str) -> str:
    """A caption in lower case, without punctuation, its words separated by single spaces.

    Two captions are identical when their normal forms are equal.
    """
    return " ".join(_DROPPED.sub("", caption.lower()).split())
