"""Draw the README's picture with the library: python tools/draw_cone.py writes book/assets/cone.svg."""

from __future__ import annotations

import re
from pathlib import Path

from causalcnn._files import atomic_write
from causalcnn_book import palette, script
from causalcnn_book.causality import ConeExplorer

TARGET = Path(__file__).resolve().parent.parent / "book" / "assets" / "cone.svg"


def drawing() -> str:
    """Return the cone of four causal layers, kernel 3, dilations 1, 2, 4, 8, as a picture that stands alone."""
    explorer = ConeExplorer(kernel_size=3, layers=4, doubling=True)
    match = re.search(r"<svg class=\"cc-wide\".*?</svg>", explorer.static(), re.S)
    if not match:
        raise ValueError("ConeExplorer.static() holds no wide drawing")
    rules = re.sub(r"@(?:media|container)[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", script.rules())
    rules = "\n".join(line for line in rules.splitlines() if "svg" in line or line.startswith((".cc-", "@keyframes")))
    style = palette.css() + rules.replace(".cc-fig svg ", "")
    svg = match.group().replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    svg = re.sub(r' style="height:\d+px"', "", svg)
    width, height = re.findall(r'viewBox="0 0 (\d+) (\d+)"', svg)[0]
    frame = f'<rect width="{width}" height="{height}" rx="8" fill="var(--cc-paper)"/>'
    names = {name: f"cone-{number}" for number, name in enumerate(re.findall(r'\bid="([^"]+)"', svg))}
    for old, new in names.items():
        svg = svg.replace(f'id="{old}"', f'id="{new}"').replace(f"#{old})", f"#{new})")
    head, mark, body = svg.partition(">")
    return f"{head}{mark}<style>{style}</style>{frame}{body}"


if __name__ == "__main__":
    with atomic_write(TARGET) as part:
        part.write_text(drawing() + "\n", "utf8")
    print(f"{TARGET} ({TARGET.stat().st_size:,} bytes)")
