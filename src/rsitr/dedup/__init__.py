"""Near-duplicate images: fingerprints, groups, and the clean tables of a dataset."""
