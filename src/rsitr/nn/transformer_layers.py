"""Plain Transformer encoder layers, TEL in PIR's Table I."""

from __future__ import annotations

from torch import Tensor, nn

from rsitr.errors import ParamsError


class TransformerLayers(nn.Module):
    """Layers of A. Vaswani et al., 2017, section 3.1; the hidden layer of each is four times as wide.

    Raises ``ParamsError`` unless the heads can share the width.
    """

    def __init__(self, width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        check_heads(width, heads)
        # One by one: nn.TransformerEncoder would start every layer with a copy of the same weights.
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, batch_first=True) for _ in range(layers)
        )

    def forward(self, states: Tensor, padding: Tensor | None = None) -> Tensor:
        """States [B, N, width] of states; ``padding`` [B, N] is true where there is no token."""
        for layer in self.layers:
            states = layer(states, src_key_padding_mask=padding)
        return states


def check_heads(width: int, heads: int) -> None:
    """Raise ``ParamsError`` unless the heads can share the width."""
    if width % heads:
        raise ParamsError(f"a width of {width} cannot be split among {heads} heads: set width to a multiple of it")
