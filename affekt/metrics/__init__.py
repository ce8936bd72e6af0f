"""Every number that test.py prints."""
