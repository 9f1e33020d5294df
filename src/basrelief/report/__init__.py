"""The report of a study: one HTML page that works offline, or Markdown, drawn from plain data."""

from basrelief.report.contents import Curve, LossRow, MetricFacts, Pictures, StudyContents
from basrelief.report.lr_page import LrContents, render_lr_range
from basrelief.report.markdown import render_markdown
from basrelief.report.page import render_study
from basrelief.report.sheet import render_sheet

__all__ = [
    "Curve",
    "LossRow",
    "LrContents",
    "MetricFacts",
    "Pictures",
    "StudyContents",
    "render_lr_range",
    "render_markdown",
    "render_sheet",
    "render_study",
]
