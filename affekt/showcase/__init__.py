"""The demos: plans, figures against the truth, videos, one HTML page."""
