"""The progressive attention encoders of PIR (section IV-C, 2024): self-attention, then cross-attention to a query from
elsewhere, layer after layer. The output of an encoder is its first token.

So only the first token of the last layer is computed.
"""

from __future__ import annotations

from torch import Tensor, nn

from rsitr.nn.transformer_layers import check_heads


class AttentionBlock(nn.Module):
    """x = LN(x + MHA(q, x, x)), then LN(x + FFN(x)): Eqs. 7 and 8 where q is x itself, Eqs. 9 and 10 where it is not.

    The residual is that of the keys and values. FFN: linear to twice the width, LN, GELU, linear.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        check_heads(width, heads)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.LayerNorm(2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.norm_attention, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, states: Tensor, queries: Tensor, padding: Tensor | None = None, *, first_only: bool = False
    ) -> Tensor:
        """States [B, N, D], or the first of them [B, 1, D], changed by as many queries or by a single one for all.

        ``padding`` [B, N] is true where there is no token.
        """
        attended = self.attention(queries, states, states, key_padding_mask=padding, need_weights=False)[0]
        if first_only:
            states = states[:, :1]
        states = self.norm_attention(states + self.dropout(attended.expand_as(states)))
        return self.norm_feed_forward(states + self.dropout(self.feed_forward(states)))


class ProgressiveLayer(nn.Module):
    """PAEL: self-attention of a sequence, then cross-attention to it from a projected source (Eqs. 7-10, Fig. 3)."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.self_attention = AttentionBlock(width, heads, dropout)
        self.query = nn.Linear(width, width)
        self.cross_attention = AttentionBlock(width, heads, dropout)

    def forward(self, states: Tensor, source: Tensor, padding: Tensor | None = None, *, last: bool) -> Tensor:
        """States [B, N, D], or in the last layer the first one [B, 1, D]; ``source`` is [B, N, D] or [B, 1, D]."""
        attended = self.self_attention(states, states, padding)
        queries = self.query(source[:, :1] if last else source)
        return self.cross_attention(attended, queries, padding, first_only=last)


class ProgressiveEncoder(nn.Module):
    """Layers, and a linear head on the first token of the last."""

    def __init__(self, width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(ProgressiveLayer(width, heads, dropout) for _ in range(layers))
        self.head = nn.Linear(width, width)


class SpatialPAE(ProgressiveEncoder):
    """F_(i+1) = PAEL_i(F_i, W_i g), and the head of the first token of the last F (Eqs. 11 and 12).

    The instruction g is the query at every place, so its attention is computed once for all of them; in training they
    therefore share the dropout of the weights.
    """

    def forward(self, tokens: Tensor, instruction: Tensor) -> Tensor:
        """[B, D] of tokens [B, N, D] and an instruction [B, D]."""
        for layer in self.layers:
            tokens = layer(tokens, instruction[:, None], last=layer is self.layers[-1])
        return self.head(tokens[:, 0])


class TemporalPAE(ProgressiveEncoder):
    """T_(i+1) = PAEL_i(T_i, W_i T_i), and the head of the first token of the last T (Eqs. 13 and 14)."""

    def forward(self, states: Tensor, padding: Tensor) -> Tensor:
        """[B, D] of states [B, L, D]; ``padding`` [B, L] is true where there is no token."""
        for layer in self.layers:
            states = layer(states, states, padding, last=layer is self.layers[-1])
        return self.head(states[:, 0])
