"""What servers and clones deliver instead of a file: HTML pages with status 200, and Git LFS pointers."""

from __future__ import annotations

import html
import re

LONGEST = 1024
"""How many bytes from the start of a file are enough to recognise a stand-in."""
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:(\w+)\nsize (\d+)")


def stand_in(first: bytes, file: str, content_type: str = "") -> str | None:
    """What came instead of ``file`` and what to do about it; None if its first bytes may be the file's own.

    Google Drive answers with a page if a file is over its quota or too large for its virus scan, OneDrive and login
    walls answer every program with one. A repository without its Git LFS content holds a pointer of three lines.
    """
    if pointer := _POINTER.match(first):
        return (
            f"a Git LFS pointer instead of the file (which has {int(pointer[2])} bytes, sha256 {pointer[1].decode()}); "
            "run `git lfs pull` in the clone it comes from, or use the server's address for large files"
        )
    start = first[:LONGEST].lstrip().lower()
    is_page = content_type.lower().startswith("text/html") or start.startswith((b"<!doctype html", b"<html"))
    if not is_page or file.endswith((".html", ".htm")):
        return None
    title = re.search(r"<title[^>]*>(.*?)</title>", first.decode(errors="replace"), re.IGNORECASE | re.DOTALL)
    name = f" titled {html.unescape(title[1]).strip()!r}" if title else ""
    return f"an HTML page{name} instead of the file; open the address in a browser to see why"
