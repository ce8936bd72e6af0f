"""Weights files of others: where they are, and that they are right."""
