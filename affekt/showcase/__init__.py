"""What a demo shows of trained runs: figures against the truth, videos, one HTML page."""
