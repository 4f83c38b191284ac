"""Contrastive pre-training of CLIP models on webdataset shards, on any number of processes."""
