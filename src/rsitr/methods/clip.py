"""CLIP without fine-tuning: what an open-domain model scores out of the box."""

from __future__ import annotations

from typing import Any, ClassVar

from rsitr.methods.base import method
from rsitr.methods.clip_encoder import L14, CLIPEncoder, CLIPEncoderConfig
from rsitr.records.cell import Published


class CLIPConfig(CLIPEncoderConfig):
    """Defaults of PIR's Table II: OpenAI's ViT-B/32."""


@method("clip")
class CLIP(CLIPEncoder):
    """CLIP (A. Radford et al., ICML 2021, section 3.1.2) as evaluated zero-shot in PIR, Table II."""

    Config: ClassVar[type[CLIPConfig]] = CLIPConfig
    config: CLIPConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "rn50": {"model": "RN50-quickgelu"},
        "vit-b-16": {"model": "ViT-B-16-quickgelu"},
        "vit-l-14": {"model": L14},
    }
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table2", method="clip", backbone="ViT-B / Transformer"),
    }
