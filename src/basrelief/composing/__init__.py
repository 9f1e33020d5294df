"""Composing: figures pasted onto backgrounds, into quartets of background, composite, mask and depth."""
