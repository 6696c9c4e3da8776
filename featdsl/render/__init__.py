"""Show a plan to people: text for a terminal, Markdown for a pull request."""

from featdsl.render.pullrequest import markdown
from featdsl.render.terminal import ansi, text

__all__ = ["ansi", "markdown", "text"]
