"""The pipeline as functions: what the Snakefile, the command line and a notebook call. It never imports torch."""
