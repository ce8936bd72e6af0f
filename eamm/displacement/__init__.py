"""The implicit emotion displacement learner (EAMM)."""
