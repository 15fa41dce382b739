"""One HTML page with everything in it: text, tables, and figures as embedded PNG; no other file, no network."""

import base64
import html
import io
from collections.abc import Sequence

from matplotlib.figure import Figure

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 84rem; margin: 2rem auto;
  padding: 0 1rem; }
h1, h2 { line-height: 1.2; font-weight: 600; }
h2 { margin-top: 2.5rem; }
p { max-width: 48rem; }
figure { margin: 1.5rem 0; }
.row { display: flex; flex-wrap: wrap; gap: 0 2rem; }
.row figure { flex: 1 1 24rem; max-width: 40rem; }
img { max-width: 100%; height: auto; }
figcaption, .note { color: #555; font-size: 0.9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.9rem 0.3rem 0; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
.text td + td { white-space: normal; }
th:first-child, td:first-child, .text th, .text td { text-align: left; }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """The page.

    Args:
      title: its name and first heading.
      parts: HTML of the functions below, in order.
    """
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>",
            f"<body><h1>{html.escape(title)}</h1>",
            *parts,
            "</body></html>\n",
        ]
    )


def heading(text: str) -> str:
    """A heading within the page."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    """Plain text."""
    return f"<p>{html.escape(text)}</p>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, note: str = "", numbers: bool = True) -> str:
    """A table, with a line under it.

    Args:
      header: names of the columns.
      rows: their cells.
      note: the line.
      numbers: all columns but the first hold numbers and end at the right.
    """
    line = lambda tag, cells: "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
    body = "".join(line("td", row) for row in rows)
    below = f'<p class="note">{html.escape(note)}</p>' if note else ""
    kind = "numbers" if numbers else "text"
    head = f"<thead>{line('th', header)}</thead>"
    return f'<div class="wide"><table class="{kind}">{head}<tbody>{body}</tbody></table></div>{below}'


def row(*pictures: str) -> str:
    """Pictures beside each other, below each other where the window is narrow."""
    return f'<div class="row">{"".join(pictures)}</div>'


def picture(figure: Figure, caption: str, *, dpi: int = 110) -> str:
    """A figure with its caption, which is its text for those who do not see it too."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi)
    data, text = base64.b64encode(stream.getvalue()).decode(), html.escape(caption)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'
