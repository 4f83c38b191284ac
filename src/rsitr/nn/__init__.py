"""Building blocks that methods share: backbones, text encoders, losses, inputs."""
