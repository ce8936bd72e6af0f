"""Shared by the papers: networks, media, metrics, evaluation, runs."""
