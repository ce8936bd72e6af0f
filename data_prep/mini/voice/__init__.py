"""The synthesised speech of the mini corpus."""
