"""Layouts of published corpora: where clips lie, and what their names mean."""
