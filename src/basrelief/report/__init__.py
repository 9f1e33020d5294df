"""The report of a study: one HTML page that works offline, or Markdown, drawn from plain data."""

from basrelief.report.badge import render_badge
from basrelief.report.comparison import render_comparison
from basrelief.report.contents import (
    Curve,
    LossCost,
    LossRow,
    MetricFacts,
    Pictures,
    RateSearch,
    Spread,
    StudyContents,
    TermCurve,
)
from basrelief.report.evaluation import render_evaluation
from basrelief.report.lr_page import LrContents, render_lr_range
from basrelief.report.markdown import render_markdown
from basrelief.report.page import render_study
from basrelief.report.pdf import find_browser, print_pdf
from basrelief.report.sheet import render_sheet

__all__ = [
    "Curve",
    "LossCost",
    "LossRow",
    "LrContents",
    "MetricFacts",
    "Pictures",
    "RateSearch",
    "Spread",
    "StudyContents",
    "TermCurve",
    "find_browser",
    "print_pdf",
    "render_badge",
    "render_comparison",
    "render_evaluation",
    "render_lr_range",
    "render_markdown",
    "render_sheet",
    "render_study",
]
