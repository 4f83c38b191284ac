"""Search pictures of one's own in words, or by a picture."""
