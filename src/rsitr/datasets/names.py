"""Names of image files as annotations and archives spell them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath


def with_slashes(path: str) -> str:
    """``path`` as POSIX spells it: what was made on Windows may use backslashes."""
    return path.replace("\\", "/")


def is_absolute(path: str) -> bool:
    """Whether a name begins at a root, of Windows' drives too."""
    return re.match(r"/|[A-Za-z]:", with_slashes(path)) is not None


def relative_name(name: str) -> str:
    """A name relative to the folder of the images, with slashes; raises ``ValueError`` for a path outside of it."""
    place = PurePosixPath(with_slashes(name))
    wrong = is_absolute(name) or is_absolute(place.as_posix())  # ./C: leads to C:
    if wrong or ".." in place.parts or not place.parts or "\0" in name or not is_text(name):
        raise ValueError(f"{name!r}, a path outside the image folder")
    return place.as_posix()


def is_text(text: str) -> bool:
    """Whether a string can be written: JSON may hold halves of characters (lone surrogates)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
