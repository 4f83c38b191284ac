"""When two captions say the same: the one rule for audits, ceilings and the duplicate-aware recall."""

from __future__ import annotations

import re

_DROPPED = re.compile(r"[^\w\s]|_")


def normal_form(caption: str) -> str:
    """A caption in lower case, without punctuation, its words one space apart.

    Two captions are identical when their normal forms are equal.
    """
    return " ".join(_DROPPED.sub("", caption.lower()).split())
