"""rsitr: the reproducible benchmark of remote sensing image-text retrieval."""
