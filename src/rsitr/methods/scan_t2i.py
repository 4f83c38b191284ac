"""SCAN t-i: words attend to the regions of an image."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from rsitr.methods.base import method
from rsitr.methods.scan import SCAN, SCANConfig
from rsitr.records.cell import Published


class SCANT2IConfig(SCANConfig):
    """The sharpness that the authors' code names for this direction on Flickr30K."""

    lambda1: float = Field(9.0, gt=0)
    lambda2: float = Field(6.0, gt=0)


@method("scan-t2i")
class SCANT2I(SCAN):
    """SCAN (K.-H. Lee et al., ECCV 2018), text-image form: section 3.1, the mirror image of its Eqs. 1-6.

    Each word attends to the regions of the image; the cosines of the words with what they attended to are pooled into
    the score. In the remote sensing rows (AMFMN 2022, Table II) the cells of ResNet-18's last map replace the 36
    detected regions of the paper. Variant ``single-token``: one mean-pooled region, so that there is nothing to attend
    to and the score pools the cosines of the words with the image. Table III of AMFMN does not say which direction its
    SCAN has.
    """

    Config: ClassVar[type[SCANConfig]] = SCANT2IConfig
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="amfmn2022", table="table2", method="scan-t2i"),
        "keywords": Published(paper="amfmn2022", table="table3", method="scan"),
    }

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Scores [I, C] of regions [I, N, D] and words [C, L, D]."""
        return self.attention(texts, images).t()
