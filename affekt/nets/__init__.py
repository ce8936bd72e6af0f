"""Torch pieces that belong to no single paper."""
