"""An explanation as one HTML page that needs nothing else: no network, no script, no file beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from chatterm.cli.explaining.charts import STYLE, chart
from chatterm.cli.explaining.explanation import Explanation
from chatterm.cli.explaining.tables import CAPTIONS, TITLES, numbers
from chatterm.text import line, plain

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#66707f;--paper:#fff;--line:#d9dee6}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#98a2b1;--paper:#14181e;--line:#323a46}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:920px;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin:2.5rem 0 .3rem}p{margin:.3rem 0 1rem}.soft{color:var(--soft)}
.wide{overflow-x:auto}svg{max-width:100%;height:auto}
details{margin-top:.7rem}summary{cursor:pointer;color:var(--soft)}
pre{font:13px/1.45 ui-monospace,Menlo,Consolas,monospace;overflow-x:auto;border-left:3px solid var(--line);
padding-left:.8rem}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Told to browsers: nothing is loaded and no script runs, whatever a text contains."""


def page(explanation: Explanation, sections: Sequence[str]) -> str:
    """The whole page."""
    body = "\n".join(_section(explanation, section) for section in sections)
    name = escape(line(explanation.model))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>How {name} reads a text</title>
<style>{_STYLE}{STYLE}</style>
</head>
<body>
<h1>How {name} reads a text, and what it says next</h1>
<p class="soft">Numbers of the model itself, made by <code>chatterm explain</code>.</p>
{body}
</body>
</html>
"""


def _section(explanation: Explanation, section: str) -> str:
    title = f"<h2>{escape(TITLES[section])}</h2>"
    if reason := explanation.missing.get(section):
        return f"{title}\n<p>{escape(plain(reason))}</p>"
    as_text = escape(plain("\n".join(numbers(explanation, section))))
    return f"""{title}
<p class="soft">{escape(CAPTIONS[section])}</p>
<div class="wide">{chart(explanation, section)}</div>
<details><summary>The same as text</summary><pre>{as_text}</pre></details>"""
