"""Data preparation: published corpora to prepared corpora, written once."""
