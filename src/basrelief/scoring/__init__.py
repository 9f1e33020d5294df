"""Scoring trained networks: which metrics fit, every image at its own size, evaluations and comparisons."""
