"""What the papers of the CLIP family do to a caption before it becomes a query: their evaluation protocols by name.

All of them rank unique images against captions and count a hit within the first K, as our recall does. RemoteCLIP and
GeoRSCLIP keep every caption. SkyScript queries each distinct sentence once and counts any of its images (of
UCM-Captions' 1,050 test captions 377 remain); closest to that is the duplicate-aware recall that every evaluation
reports (``dup_``). It accepts the same images and captions, but queries a repeated sentence as often as it occurs, and
keeps repeated captions of other images in the gallery, so from image to text it never exceeds SkyScript's number.
"""

from __future__ import annotations

from typing import Literal

CaptionProtocol = Literal["georsclip", "remoteclip", "skyscript"]
"""``georsclip``: as the dataset has it (RS5M and GeoRSCLIP, Z. Zhang et al., TGRS 2024); ``remoteclip``: its first
letter upper-case and the others lower-case (F. Liu et al., TGRS 2024); ``skyscript``: after 'a satellite image. '
(Z. Wang et al., AAAI 2024)."""
SKYSCRIPT_PREFIX = "a satellite image. "


def as_evaluated(caption: str, protocol: CaptionProtocol) -> str:
    """A caption as ``protocol`` gives it to the tokenizer."""
    if protocol == "remoteclip":
        return caption.capitalize()
    return SKYSCRIPT_PREFIX + caption if protocol == "skyscript" else caption
