"""SCAN i-t: the regions of an image attend to the words of a caption."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from rsitr.methods.base import method
from rsitr.methods.scan import SCAN, SCANConfig
from rsitr.records.cell import Published


class SCANI2TConfig(SCANConfig):
    """The sharpness that the authors' code names for this direction on Flickr30K."""

    lambda1: float = Field(4.0, gt=0)
    lambda2: float = Field(5.0, gt=0)


@method("scan-i2t")
class SCANI2T(SCAN):
    """SCAN (K.-H. Lee et al., ECCV 2018), image-text form: section 3.1, Eqs. 1-6.

    Each region attends to the words of the caption; the cosines of the regions with what they attended to are pooled
    into the score. In the remote sensing rows (AMFMN 2022, Table II) the cells of ResNet-18's last map replace the 36
    detected regions of the paper. Variant ``single-token``: one mean-pooled region. Eq. 1 divides the similarity of a
    word by its norm over the regions, so with a single one only the sign is left: the words that agree with the image
    share one weight, and the others another. Table III of AMFMN does not say which direction its SCAN has.
    """

    Config: ClassVar[type[SCANConfig]] = SCANI2TConfig
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="amfmn2022", table="table2", method="scan-i2t"),
        "keywords": Published(paper="amfmn2022", table="table3", method="scan"),
    }

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Scores [I, C] of regions [I, N, D] and words [C, L, D]."""
        return self.attention(images, texts)
