"""Serving a trained network: a page to drop images on, and an HTTP API."""
