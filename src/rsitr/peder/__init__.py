"""The study of CLIP alone (S. Dinesh Krishnan et al., 'Prior-Experience Based Dual Encoder Approach', 2025)."""
