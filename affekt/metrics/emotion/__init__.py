"""Emotion accuracy: the frame attention network."""
