"""PIR-CLIP: a CLIP whose image tower is instructed by a scene classifier, fine-tuned on a retrieval set."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field
from torch import Tensor

from rsitr.errors import Unsupported
from rsitr.methods.base import Batch, Corpus, Phase, method, those
from rsitr.methods.clip import B32, CLIPTuningConfig, TrainedCLIP
from rsitr.methods.vse import RANDAUGMENT
from rsitr.nn.affiliation import affiliation_loss, class_numbers
from rsitr.nn.clip_models import BuiltCLIP, create_clip
from rsitr.nn.losses import temperature_parameter
from rsitr.params.ids import PRETRAINING
from rsitr.records.cell import Published
from rsitr.records.pretraining import Form, Instruction

TEMPERATURE = 0.07
"""Of the affiliation loss, initially (section V-C)."""
LEARNS = (
    "backbone.visual.vit.",
    "backbone.visual.to_token.",
    "backbone.visual.instruction.attnpool.",
    "text.",
    "log_temperature",
    "log_centre_temperature",
)
"""Name prefixes of what learns: all but the instruction layers before the attention pool (section V-C)."""


class PIRCLIPConfig(CLIPTuningConfig):
    """Defaults of section V-C, stage 2."""

    model: str = "ViT-B-32"
    """Any model of open_clip with a ViT, or of ``rsitr.nn.clip_models``."""
    weights: str = "pretraining://paper/pir-clip"
    """What stage 1 wrote: pretraining://EXPERIMENT/NAME, path, mirror://path, package://name/path; ``none``: random. A
    pretrained tag of open_clip is a plain CLIP, whose instruction encoder starts with weights of its own."""
    spatial: bool = True
    """Whether an instruction weights the patches (Spatial-PAE in Table III); a plain CLIP without it."""
    instruction: Instruction = Instruction()
    """The instruction encoder, as it was in stage 1."""
    instruction_weights: str = "scenes://paper/modified-resnet50-aid"
    """What the instruction encoder started as, in stage 1 if there was one: scenes://EXPERIMENT/NAME, a file, or
    ``none``: random."""
    belief: Form = "paper"
    """How beliefs weight the patches: as in the paper, or as in the authors' code."""
    affiliation: float = Field(1.0, ge=0)
    """Weight of the affiliation loss, lambda of Eq. 17."""

    @property
    def course(self) -> tuple[Phase, ...]:
        """A single phase leaves out the fixed layers; configured phases state themselves what learns."""
        if self.phases or not self.spatial:
            return super().course
        return tuple(phase.model_copy(update={"learns": LEARNS}) for phase in super().course)


def _row(table: str, variant: str) -> Published:
    return Published(paper="pir2024", table=table, method="pir-clip", variant=variant)


@method("pir-clip")
class PIRCLIP(TrainedCLIP):
    """PIR-CLIP (J. Pan, M. Ma, Q. Ma, C. Bai, S. Chen, 'PIR', 2024), section IV-C3, Tables II and III.

    The instruction's token weights the patches (Eqs. 3, 5 and 6), joins them and is pooled (``InstructedViT``). Stage 1
    is contrastive pre-training (``pretrained`` in params.yaml); this is stage 2, vision instruction fine-tuning. Loss:
    Eq. 17, the contrastive loss of Eq. 15 starting at the temperature of the weights, and the affiliation loss.
    ``released`` weights patches as the public code does, in both stages. ``freeze_backbone`` keeps the image tower
    fixed and computes its embeddings once.

    The ablations of Table III: ``no-affiliation`` is its +S-PAE. ``affiliation`` is +L_A, without an instruction; it
    begins at OpenAI's weights, as the row CLIP-baseline below which it stands: that row has the numbers of CLIP-FT in
    Table II (``clip-ft``), though section V-E says that only the modules are left out. ``ret-2`` and ``ret-3`` are the
    rows of Table II that train on several datasets at once: params.yaml gives them the split protocol of that name.
    """

    Config: ClassVar[type[PIRCLIPConfig]] = PIRCLIPConfig
    config: PIRCLIPConfig
    classes: Tensor
    """[images]: the class number of each training image."""
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "released": {"belief": "released", "weights": "pretraining://paper/pir-clip-released"},
        "no-affiliation": {"affiliation": 0.0},
        "affiliation": {"spatial": False, "model": B32, "weights": "openai"},
        "ret-2": {},
        "ret-3": {},
    }
    published: ClassVar[dict[str, Published]] = {
        "": _row("table2", "train=own"),
        "no-affiliation": _row("table3", "+S-PAE"),
        "affiliation": _row("table3", "+L_A"),
        "ret-2": _row("table2", "train=RET-2"),
        "ret-3": _row("table2", "train=RET-3"),
    }

    @property
    def departures(self) -> list[str]:
        """From the paper, and for ``released`` from the authors' code."""
        config, released = self.config, self.config.belief == "released"
        affiliated, untrained = released and config.affiliation > 0, config.instruction_weights == "none"
        instructed, pretrained = config.spatial, config.weights.startswith(f"{PRETRAINING}://")
        found = {
            "an instruction encoder not trained on scenes, which says nearly the same of all images": instructed
            and untrained,
            "a scene classifier trained here, from random weights; the paper does not say from which": instructed
            and not untrained,
            "stage 1 of this benchmark, not the authors' weights": instructed and config.weights != "none",
            "stage 1 from random weights at the rate and decay that the authors' code has without a command; the paper "
            "states neither": pretrained,
            "stage 1 draws samples without replacement; the authors' code draws shards with it": pretrained,
            "rate and decay of the command of the authors' code; section V-C has those of PIR-ITR": True,
            "random weights, without stage 1": config.weights == "none",
            "reconstructions of Eqs. 5 and 6, made from the prose and the authors' code": instructed and not released,
            "text-to-centre term over the captions of a centre; the authors' code has it row by row": affiliated,
            "a temperature for the affiliation loss; the authors' code has one logit scale for both": affiliated,
            RANDAUGMENT: config.augment == "randaugment",
            "captions of one image as positives of each other; the authors' code has the diagonal": released,
            "warm-up of a tenth and linear decay; the authors' code has 10,000 steps and a cosine": released,
        }
        return [*super().departures, *those(found)]

    def __init__(self, config: PIRCLIPConfig):
        super().__init__(config)
        if config.affiliation:
            self.log_centre_temperature = temperature_parameter(TEMPERATURE)

    @staticmethod
    def make_model(config: Any) -> BuiltCLIP:
        """A CLIP, with an instructed image tower unless the configuration leaves that out."""
        instruction = config.instruction if config.spatial else None
        weights = config.instruction_weights
        return create_clip(config.model, config.weights, instruction, weights, config.belief, config.unmatched)

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """With the weights of stage 1; raises ``Unsupported`` where the affiliation loss finds no classes."""
        built = super().build(config, corpus)
        if config.affiliation and corpus.captions:
            if not any(corpus.classes):
                raise Unsupported("the dataset states no scene classes: set affiliation to 0")
            built.register_buffer("classes", class_numbers(corpus.classes), persistent=False)
        return built

    def loss(self, batch: Batch) -> Tensor:
        """Eq. 17: Eq. 15 and the weighted affiliation loss."""
        images, texts = self.encode_images(batch.images), self.encode_texts(batch.tokens)
        contrastive = self.contrast(images, texts, batch.positives)
        if not self.config.affiliation:
            return self.total(contrastive=contrastive)
        classes, temperature = self.classes[batch.image_ids], self.log_centre_temperature.exp()
        affiliation = self.config.affiliation * affiliation_loss(images, texts, classes, temperature)
        return self.total(contrastive=contrastive, affiliation=affiliation)
