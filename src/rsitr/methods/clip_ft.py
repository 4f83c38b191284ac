"""CLIP-FT: CLIP with all its weights trained further on one retrieval set."""

from __future__ import annotations

from typing import ClassVar

from rsitr.methods.base import method
from rsitr.methods.clip_training import CLIPTuningConfig, TrainedCLIP
from rsitr.records.cell import Published


@method("clip-ft")
class CLIPFT(TrainedCLIP):
    """CLIP-FT of PIR (J. Pan et al., 2024), Table II, which is the CLIP-baseline of its Table III.

    PIR states no recipe for this row. The second stage of its own model is used, from which the baseline differs only
    in modules and loss. Loss: its Eq. 15, starting at CLIP's learned temperature.
    """

    Config: ClassVar[type[CLIPTuningConfig]] = CLIPTuningConfig
    config: CLIPTuningConfig
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table2", method="clip-ft", backbone="ViT-B / Transformer"),
    }
