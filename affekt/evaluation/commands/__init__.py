"""The commands of test.py, a module each."""
