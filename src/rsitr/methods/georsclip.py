"""GeoRSCLIP: CLIP trained further on five million image-text pairs."""

from __future__ import annotations

from typing import Any, ClassVar

from rsitr.methods.base import method
from rsitr.methods.clip_encoder import L14, CLIPEncoder, CLIPEncoderConfig
from rsitr.records.cell import Published


class GeoRSCLIPConfig(CLIPEncoderConfig):
    """Defaults of PIR's Table II: the released ViT-B/32."""

    weights: str = "georsclip-vit-b-32"


@method("georsclip")
class GeoRSCLIP(CLIPEncoder):
    """GeoRSCLIP (Z. Zhang et al., "RS5M and GeoRSCLIP", IEEE TGRS 2024) as released, PIR's Table II.

    ``ret-2`` is the model that its authors fine-tuned on RSICD and RSITMD together and released: the row GeoRSCLIP-FT
    on RET-2 of that table.
    """

    Config: ClassVar[type[GeoRSCLIPConfig]] = GeoRSCLIPConfig
    config: GeoRSCLIPConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "ret-2": {"weights": "georsclip-vit-b-32-ret-2"},
        "vit-l-14": {"model": L14, "weights": "georsclip-vit-l-14"},
    }
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table2", method="georsclip", backbone="ViT-B / Transformer"),
        "ret-2": Published(paper="pir2024", table="table2", method="georsclip-ft", variant="train=RET-2"),
    }
