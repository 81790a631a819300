#!/usr/bin/env python3
"""Fills docs/tasks/*.md with what the commands print: each block between

    <!-- $ gym sample maze --text -->
    <!-- end -->

becomes the output of that command. `--check` only says whether a page is stale (exit status 1).

  tools/fill_task_pages.py [--check] [--binary ./throughline]
"""
import argparse
import pathlib
import re
import subprocess
import sys

BLOCK = re.compile(r"<!-- \$ (gym [^\n]*) -->\n.*?<!-- end -->", re.S)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--binary", default="./throughline")
    options = parser.parse_args()

    def fill(match):
        run = subprocess.run([options.binary, *match[1].split()], capture_output=True, text=True, check=True)
        out = run.stdout.rstrip("\n")
        if not out.startswith("|"):  # a table is Markdown already
            out = "```\n" + out + "\n```"
        return f"<!-- $ {match[1]} -->\n`throughline {match[1]}`\n\n{out}\n<!-- end -->"

    stale = []
    for page in sorted((pathlib.Path(__file__).parent.parent / "docs" / "tasks").glob("*.md")):
        text = page.read_text()
        filled = BLOCK.sub(fill, text)
        if filled != text:
            stale.append(page.name)
            if not options.check:
                page.write_text(filled)
    if options.check and stale:
        sys.exit("stale: " + ", ".join(stale) + "; run tools/fill_task_pages.py")


if __name__ == "__main__":
    main()
