"""The frame of the CLIP family: two towers of open_clip, the captions of an evaluation protocol, cosine similarity."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from torch import Tensor
from torch.nn import functional as F

from rsitr.captions.evaluation import CaptionProtocol, as_evaluated
from rsitr.methods.base import Corpus, Method, MethodConfig, token_images
from rsitr.nn.clip_models import BuiltCLIP, ImageTower, build_clip
from rsitr.nn.state import Unmatched

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
