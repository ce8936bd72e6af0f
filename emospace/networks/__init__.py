"""The networks of emospace."""
