"""The machine of test.py: protocols, controls, measuring, tables."""
