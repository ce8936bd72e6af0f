"""The papers' tables: what they print, ours next to it, in every format."""
