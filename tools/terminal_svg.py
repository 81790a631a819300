#!/usr/bin/env python3
"""Makes an SVG of a terminal: tmux capture-pane -e -p | tools/terminal_svg.py >docs/images/demo.svg. Standard library only."""
import html
import re
import sys

COLORS = {31: "#ff7b72", 32: "#7ee787", 33: "#e3b341", 36: "#76e3ea"}
CELL, LINE, PAD = 7.8, 17, 16

lines = sys.stdin.read().rstrip("\n").split("\n")
width = max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in lines)
out = [
    '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="13">'
    % (width * CELL + 2 * PAD, len(lines) * LINE + 2 * PAD),
    '<rect width="100%" height="100%" rx="8" fill="#0d1117"/>',
]
bold = dim = False
color = "#e6edf3"
for row, line in enumerate(lines):
    column = 0
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        if part.startswith("\x1b"):
            for code in (int(c or 0) for c in part[2:-1].split(";")):
                if code == 0:
                    bold = dim = False
                    color = "#e6edf3"
                elif code in (1, 2):
                    bold, dim = bold or code == 1, dim or code == 2
                elif code in COLORS or code == 39:
                    color = COLORS.get(code, "#e6edf3")
            continue
        if part.strip():
            out.append(
                '<text x="%.1f" y="%d" fill="%s"%s%s xml:space="preserve" textLength="%.1f" lengthAdjust="spacingAndGlyphs">%s</text>'
                % (PAD + column * CELL, PAD + 13 + row * LINE, color, ' font-weight="bold"' if bold else "",
                   ' opacity="0.55"' if dim else "", len(part) * CELL, html.escape(part, quote=False)))
        column += len(part)
out.append("</svg>")
print("\n".join(out))
