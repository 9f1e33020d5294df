"""Commands that hand a trained network on: export it, serve it."""

from __future__ import annotations

import typer

app = typer.Typer()
