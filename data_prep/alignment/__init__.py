"""Alignment of two recordings of one sentence."""
