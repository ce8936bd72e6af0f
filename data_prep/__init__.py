"""Writes data once: corpora as published become prepared corpora."""
