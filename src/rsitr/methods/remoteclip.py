"""RemoteCLIP: CLIP trained further on boxes, masks and captions of remote sensing."""

from __future__ import annotations

from typing import Any, ClassVar

from rsitr.captions.evaluation import CaptionProtocol
from rsitr.methods.base import method
from rsitr.methods.clip_encoder import L14, CLIPEncoder, CLIPEncoderConfig
from rsitr.records.cell import Published


class RemoteCLIPConfig(CLIPEncoderConfig):
    """Defaults of PIR's Table II: the released ViT-B/32 under its own protocol."""

    weights: str = "remoteclip-vit-b-32"
    protocol: CaptionProtocol = "remoteclip"


def _row(backbone: str) -> Published:
    return Published(paper="pir2024", table="table2", method="remoteclip", backbone=f"{backbone} / Transformer")


@method("remoteclip")
class RemoteCLIP(CLIPEncoder):
    """RemoteCLIP (F. Liu et al., IEEE TGRS 2024) as released, PIR's Table II.

    It is zero-shot in name only: its training set RET-3 + DET-10 + SEG-4 holds the training images and captions of
    RSICD, RSITMD and UCM-Captions (``saw`` in ``rsitr/nn/checkpoints.csv``), without the near duplicates of test images
    that its authors' perceptual hash found. ``rsitr.dedup`` measures what that leaves.
    """

    Config: ClassVar[type[RemoteCLIPConfig]] = RemoteCLIPConfig
    config: RemoteCLIPConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "rn50": {"model": "RN50-quickgelu", "weights": "remoteclip-rn50"},
        "vit-l-14": {"model": L14, "weights": "remoteclip-vit-l-14"},
    }
    published: ClassVar[dict[str, Published]] = {"": _row("ViT-B"), "vit-l-14": _row("ViT-L")}
