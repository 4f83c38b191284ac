"""The generated scenes of the demo: what is in them, how they are drawn, and the sentences about them."""
