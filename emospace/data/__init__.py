"""Prompts and datasets of emospace's stages."""
