"""What the papers share: networks, media, metrics, evaluation, runs."""
