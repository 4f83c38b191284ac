"""Two-stage retrieval by two trained cells: the shortlists of one, sorted anew by the other."""
