"""Models, encodings and scores of others, assessed by the rules of this benchmark."""
