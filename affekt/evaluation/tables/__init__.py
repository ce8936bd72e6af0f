"""The papers' tables: what they print, ours beside it, in every format."""
