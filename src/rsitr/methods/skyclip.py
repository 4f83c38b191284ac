"""SkyCLIP: CLIP trained further on images and tags of OpenStreetMap."""

from __future__ import annotations

from typing import Any, ClassVar

from rsitr.methods.base import method
from rsitr.methods.clip_encoder import L14, CLIPEncoder, CLIPEncoderConfig
from rsitr.records.cell import Published


class SkyCLIPConfig(CLIPEncoderConfig):
    """Defaults of PIR's Table II: the released ViT-B/32, tested by PIR's authors, so without SkyScript's prefix."""

    # The one released checkpoint with GELU: it began with LAION's weights, not OpenAI's.
    model: str = "ViT-B-32"
    weights: str = "skyclip-vit-b-32"


def _row(backbone: str) -> Published:
    return Published(paper="pir2024", table="table2", method="skyclip", backbone=f"{backbone} / Transformer")


@method("skyclip")
class SkyCLIP(CLIPEncoder):
    """SkyCLIP (Z. Wang et al., "SkyScript", AAAI 2024) as released, PIR's Table II.

    ``skyscript`` follows the protocol of its authors; their numbers merge identical captions, so of ours only the
    duplicate-aware recall compares with them.
    """

    Config: ClassVar[type[SkyCLIPConfig]] = SkyCLIPConfig
    config: SkyCLIPConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "skyscript": {"protocol": "skyscript"},
        "vit-l-14": {"model": L14, "weights": "skyclip-vit-l-14"},
    }
    published: ClassVar[dict[str, Published]] = {"": _row("ViT-B"), "vit-l-14": _row("ViT-L")}
