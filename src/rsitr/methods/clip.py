"""CLIP without fine-tuning: what an open-domain model scores out of the box."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from rsitr.cells import Published
from rsitr.errors import ParamsError
from rsitr.methods.base import Corpus, Method, MethodConfig, method
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.weights import load_weights, require_hub, resolve

HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


class CLIPConfig(MethodConfig):
    """Defaults of PIR's Table II: OpenAI's ViT-B/32."""

    model: str = "ViT-B-32-quickgelu"
    """Any model of open_clip. OpenAI's weights need a ``-quickgelu`` one: without it they compute something else."""
    weights: str = "openai"
    """A pretrained tag of open_clip, ``none``, or a file: path, mirror://path, package://name/path."""
    prompt: str = "{}"
    """Text around each caption."""


@method("clip")
class CLIP(Method):
    """CLIP (A. Radford et al., ICML 2021, section 3.1.2) as evaluated zero-shot in PIR, Table II."""

    Config = CLIPConfig
    config: CLIPConfig
    trainable = False
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table2", method="clip", backbone="ViT-B / Transformer"),
    }

    def __init__(self, config: CLIPConfig):
        import open_clip

        super().__init__()
        self.config = config
        if config.model not in open_clip.list_models():
            raise ParamsError(f"unknown CLIP model {config.model!r}: see open_clip.list_models()")
        if config.weights == "openai" and not config.model.endswith("-quickgelu"):
            raise ParamsError(f"OpenAI's weights need the model {config.model}-quickgelu, not {config.model}")
        tags = open_clip.list_pretrained_tags_by_model(config.model)
        if config.weights in tags:
            source = open_clip.get_pretrained_cfg(config.model, config.weights)
            owner, name, *file = source["hf_hub"].rstrip("/").split("/")  # some tags name the file as well
            require_hub(f"{owner}/{name}", tuple(file) or HUB_FILES)
            self.model = open_clip.create_model(config.model, pretrained=config.weights)
        else:
            self.model = open_clip.create_model(config.model, pretrained=None)
            if config.weights != "none":
                load_weights(self.model, resolve(config.weights))
        self.tokenizer = open_clip.get_tokenizer(config.model)
        visual = self.model.visual
        size = visual.image_size[0] if isinstance(visual.image_size, tuple) else visual.image_size
        self.pixels = PixelFormat(size, tuple(visual.image_mean), tuple(visual.image_std), "bicubic")

    @classmethod
    def build(cls, config: CLIPConfig, corpus: Corpus) -> CLIP:
        """The pretrained model; nothing is learned from the corpus."""
        return cls(config)

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, D] of unit length."""
        return F.normalize(self.model.encode_image(images), dim=1)

    def tokenize(self, captions: list[str]) -> Tensor:
        """Byte-pair indices [B, 77]."""
        return self.tokenizer([self.config.prompt.format(caption) for caption in captions])

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, D] of unit length."""
        return F.normalize(self.model.encode_text(tokens), dim=1)
