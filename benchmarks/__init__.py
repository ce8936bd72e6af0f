"""Speed, measured against what a user would run instead."""
