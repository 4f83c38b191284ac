"""CLIP and its relatives as they were published, without training: CLIP, RemoteCLIP, GeoRSCLIP, SkyCLIP."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from torch import Tensor
from torch.nn import functional as F

from rsitr.captions.evaluation import CaptionProtocol, as_evaluated
from rsitr.methods.base import Corpus, Method, MethodConfig, method, token_images
from rsitr.nn.clip_models import BuiltCLIP, ImageTower, build_clip
from rsitr.nn.state import Unmatched
from rsitr.records.cell import Published

B32, L14 = "ViT-B-32-quickgelu", "ViT-L-14-quickgelu"


class CLIPEncoderConfig(MethodConfig):
    """Defaults of PIR's Table II: OpenAI's ViT-B/32."""

    model: str = B32
    """Any model of open_clip or of ``rsitr.nn.clip_models``. Most weights need a ``-quickgelu`` one: without it they
    give different embeddings."""
    weights: str = "openai"
    """A name in ``rsitr/nn/checkpoints.csv``, a pretrained tag of open_clip, ``none``, or a file: path, mirror://path,
    package://name/path."""
    unmatched: Unmatched = "refuse"
    """Whether to refuse a file whose tensors do not match the model exactly, or to skip those that do not."""
    prompt: str = "{}"
    """Text around each caption."""
    protocol: CaptionProtocol = "georsclip"
    """Whose evaluation protocol captions follow (``rsitr.captions.evaluation``)."""


class CLIPEncoder(Method):
    """Encoders of CLIP (A. Radford et al., ICML 2021, section 2.4)."""

    Config: ClassVar[type[CLIPEncoderConfig]] = CLIPEncoderConfig
    config: CLIPEncoderConfig
    backbone: ImageTower
    trainable = False

    def __init__(self, config: CLIPEncoderConfig):
        super().__init__()
        self.config = config
        text, self.tokenizer, self.pixels, self.left_out = self.make_model(config)
        self.backbone = ImageTower(text.visual)  # type: ignore[arg-type]
        del text.visual
        self.text: Any = text

    @staticmethod
    def make_model(config: Any) -> BuiltCLIP:
        """The model that a configuration names."""
        return build_clip(config.model, config.weights, config.unmatched)

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """The pretrained model; nothing is learned from the corpus yet."""
        return cls(config)

    @property
    def departures(self) -> list[str]:
        """The weights that were left out."""
        return [f"tensors {words}" for words in self.left_out]

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, D] of unit length."""
        return F.normalize(token_images(images, self.backbone)[:, 0], dim=1)

    def tokenize(self, captions: list[str]) -> Tensor:
        """Byte-pair indices [B, L]; CLIP's tokenizer makes all letters lower-case, whatever the protocol did."""
        texts = [as_evaluated(caption, self.config.protocol) for caption in captions]
        return self.tokenizer([self.config.prompt.format(text) for text in texts])

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, D] of unit length."""
        return F.normalize(self.text.encode_text(tokens), dim=1)


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


class RemoteCLIPConfig(CLIPEncoderConfig):
    """Defaults of PIR's Table II: the released ViT-B/32 under its own protocol."""

    weights: str = "remoteclip-vit-b-32"
    protocol: CaptionProtocol = "remoteclip"


def _remoteclip_row(backbone: str) -> Published:
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
    published: ClassVar[dict[str, Published]] = {"": _remoteclip_row("ViT-B"), "vit-l-14": _remoteclip_row("ViT-L")}


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


class SkyCLIPConfig(CLIPEncoderConfig):
    """Defaults of PIR's Table II: the released ViT-B/32, tested by PIR's authors, so without SkyScript's prefix."""

    # The one released checkpoint with GELU: it began with LAION's weights, not OpenAI's.
    model: str = "ViT-B-32"
    weights: str = "skyclip-vit-b-32"


def _skyclip_row(backbone: str) -> Published:
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
    published: ClassVar[dict[str, Published]] = {"": _skyclip_row("ViT-B"), "vit-l-14": _skyclip_row("ViT-L")}
