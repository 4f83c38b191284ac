"""Near-duplicate images: fingerprints, groups, and the cleaned view of a dataset."""
