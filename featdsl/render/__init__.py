"""Render a plan as text for a terminal or as Markdown for a pull request."""

from featdsl.render.plan_markdown import markdown
from featdsl.render.plan_text import ansi, text

__all__ = ["ansi", "markdown", "text"]
