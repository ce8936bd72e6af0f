"""Sentence identity of clips."""
