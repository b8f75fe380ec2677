"""Markdown that is hard to cut while it grows, and text that is hostile to a terminal."""

from __future__ import annotations

TRICKY: dict[str, str] = {
    "plain": "One paragraph.\n\nAnother one, with *stress* and **weight**.\n\nA third.",
    "setext": "A heading\n=========\n\ntext\nover two lines\n---\n\nmore\n\n---\n\nend",
    "headings without blanks": "# One\ntext\n## Two\ntext\n### Three\n#### Four\n- a\n##### Five\n###### Six\n#not a heading",
    "tight list": "Here:\n- one\n- two\n  over two lines\nlazy line\n- three\n\nafter",
    "loose list": "- one\n\n- two\n\n  second paragraph\n\n- three\n- four\n\nafter",
    "nested lists": "1. one\n   - a\n   - b\n     1. x\n     2. y\n\n        deep paragraph\n2. two\n\n   - c\n10. ten\n11. eleven\n\nafter",
    "numbers all alike": "1. one\n1. two\n1. three\n\n1. four\n\ntext\n\n1. again\n2) other list\n3) goes on",
    "start at seven": "7. seven\n8. eight\n9. nine\n10. ten\n",
    "changed bullets": "- one\n- two\n* three\n* four\n+ five\n",
    "tasks": "- [ ] open\n- [x] done\n  - [X] nested\n- [link](https://example.com) no task\n- [ ]not a task\n",
    "fence": "before\n```python\ndef f():\n\n\n    return 1\n```\nafter",
    "fence never closed": "text\n\n```rust\nfn main() {\n\n}\n",
    "fence in fence": "````markdown\n```python\nprint(1)\n```\n\ntext\n````\n\nafter",
    "tilde fence": "~~~\n```\nnot closed by this\n~~~\nafter",
    "fence in list": "1. do this\n\n   ```sh\n   make\n\n   make test\n   ```\n\n2. then that\n   ~~~\n   x\n   ~~~\n3. end\n",
    "no fence at all": "``` not `a fence\ntext\n\n```\nreal\n```",
    "indented code": "text\n\n    code\n\n    more code\n\ntext\n\n-     code in item\n",
    "table": "| a | b |\n|:--|--:|\n| 1 | 2 |\n| `x|y` | **b** |\n\nafter",
    "table after text": "text\n| a | b |\n|---|---|\n| 1 | 2 |\ntext right after\n\n| not | a table |\n",
    "half a table": "| a | b |\n|--",
    "wide table": "|" + " column |" * 30 + "\n|" + "---|" * 30 + "\n|" + " x |" * 30 + "\n",
    "quotes": "> one\n> two\n>\n> > nested\n> - list\n>   in quote\n>\n> ```c\n> int x;\n> ```\nlazy\n\nafter",
    "rules": "a\n\n---\n***\n___\n\n- - -\nb",
    "links": "[a](https://a.example/b) <https://c.example> [ref][r] [r] ![alt](https://i.example/p.png)\n\n[r]: https://r.example 'title'\n\n[ref again][r]",
    "late reference": "See [the docs][d].\n\nMore.\n\n[d]: https://docs.example\n",
    "reference in list": "- [x][1]\n\n  [1]: https://one.example\n- [y][1]\n",
    "html": "<div>\n\n**bold**\n\n</div>\n\n<!-- a\n\ncomment -->\n\ntext <b>x</b> <br> y\n<details><summary>s</summary>\n\n</details>\n",
    "emphasis": "**bold *and italic* bold** __u__ ***both*** ~~gone~~ a*b*c 2*3*4 snake_case_name **open\n\n*closed* **",
    "hard breaks": "one  \ntwo\\\nthree\nfour\n",
    "escapes": "\\*not\\* \\# no \\[no\\](x) &amp; &lt;b&gt; &#65; &#0; &copy;\n\n1\\. no list\n",
    "blank lines": "\n\n\n  \na\n\n\n\n\nb\n \t \nc\n\n\n",
    "windows line ends": "# a\r\n\r\n- b\r\n- c\r\n\r\n```\r\nx\r\n```\r\nd\rnew line",
    "tabs": "-\ta\n\t- b\n\n\tcode\n\n```\n\tindented\tby tabs\n```\n",
    "long words": "x" * 300 + " " + "https://example.com/" + "path/" * 40 + "\n\n`" + "c" * 200 + "`",
    "cjk": "日本語の長い文章を折り返すときには、文字の途中で切ってはいけません。「括弧」と、句読点の位置にも注意します。"
    * 3
    + "\n\n- 中文列表项目，也要正确换行。\n- 한국어 문장도 올바르게 줄바꿈되어야 합니다.\n",
    "rtl": "שלום עולם, זה טקסט בעברית שצריך להישבר כמו שצריך.\n\nمرحبا بالعالم، هذا نص عربي طويل قليلا ليختبر الالتفاف.\n\n- אחת\n- two\n",
    "emoji": "👩‍👩‍👧‍👦 family 🏳️‍🌈 flag 🇩🇪 de 👍🏽 tone ❤️ heart 1️⃣ key ☕ cup " * 6
    + "\n\n| 👩‍💻 | ❤️ |\n|---|---|\n| 🇯🇵 | ok |\n",
    "combining": "e\u0301 a\u0308 Z\u0351\u036b\u0343\u036a\u0302a\u0300lgo\u0315 हिन्दी में लिखा हुआ वाक्य ภาษาไทยไม่มีช่องว่างระหว่างคำ "
    * 3,
    "list then code": "Steps:\n\n1. First:\n```bash\nls\n```\n2. Second\n```bash\npwd\n```\n",
    "dashes after text": "text\n-\nmore\n- x\n--\n",
    "deep quotes": "> " * 12 + "deep\n",
    "deep list": "".join("  " * i + "- level\n" for i in range(12)),
    "many brackets": "[" * 200 + "x" + "]" * 200,
    "many stars": "*" * 120 + "a" + "**" * 60 + "\n",
}
"""Texts by what is hard about them."""

HOSTILE: dict[str, str] = {
    "colours": "a \x1b[31mred\x1b[0m b",
    "cursor": "x\x1b[2J\x1b[1;1Hy",
    "title": "\x1b]0;owned\x07text",
    "osc link": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "osc 52": "\x1b]52;c;ZXZpbA==\x07",
    "c1 controls": "a\x9b31mred\x9d0;t\x9c",
    "bell and backspace": "rm -rf\x08\x08\x08 \x07 \x00 \x7f",
    "carriage return": "visible\rhidden",
    "entities": "&#27;[31m &#x9b;31m &#x202e;desrever &#8;",
    "rich markup": "[bold red]no[/] [link=https://evil.example]x[/link] [@click=app.quit]y[/] :smile:",
    "bidi overrides": "user\u202egnp.exe\u202c \u2066isolate\u2069",
    "invisible": "pass\u200bword \u2060 \ufeff \u00ad tag\U000e0041\U000e0042",
    "surrogate": "lone \ud83d surrogate",
    "line separators": "a\u2028b\u2029c\x0bd\x0ce\x85f",
    "zalgo": "Z" + "\u0351" * 400 + "algo",
    "code": "```py\x1b[31m\nprint('\x1b[2J')\n```\n\n`in\x1b[1mline`",
    "link target": "[x](https://e.example/\x1b]0;t\x07) [y](javascript:alert(1)) [z](file:///etc/passwd) [w](HTTPS://ok.example)",
    "table": "| \x1b[31ma | b\u202ec |\n|---|---|\n| \x1b]0;x\x07 | \x00 |\n",
    "language": "```\x1b[31m\u202e[bold]\ncode\n```",
}
"""Texts that try to reach the terminal behind the text."""
