"""Pages that search pictures and scenes in a browser: what they hold, and a server of them with a model."""
