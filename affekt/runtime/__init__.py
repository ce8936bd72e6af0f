"""Shared by every run: configuration, run folder, seeds, checkpoints."""
