"""The 3D head of the mini corpus."""
