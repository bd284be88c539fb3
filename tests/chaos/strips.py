"""Samples over time as a picture: one strip a quantity (SVG)."""

from __future__ import annotations

COLOURS = {
    "rss_mb": "#1f77b4",
    "fds": "#2ca02c",
    "threads": "#9467bd",
    "tasks": "#17becf",
    "queue": "#ff7f0e",
    "spool": "#d62728",
    "lag": "#8c564b",
}
WIDTH, HEIGHT, SPACE = 900, 90, 30


def draw(samples: list[dict[str, float]]) -> str:
    """A strip for each of COLOURS; a sample holds a number of each, and ``seconds``."""
    last = samples[-1]["seconds"] or 1
    strips = []
    for row, (name, colour) in enumerate(COLOURS.items()):
        values = [each[name] for each in samples]
        top = max(values) or 1
        y = row * (HEIGHT + SPACE) + SPACE
        points = " ".join(
            f"{each['seconds'] / last * WIDTH:.1f},{y + HEIGHT - each[name] / top * HEIGHT:.1f}"
            for each in samples
        )
        strips.append(
            f'<text x="0" y="{y - 6}">{name}: {min(values):.4g} … {max(values):.4g}, at the end {values[-1]:.4g}</text>'
            f'<rect x="0" y="{y}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#ccc"/>'
            f'<polyline points="{points}" fill="none" stroke="{colour}"/>'
        )
    total = len(COLOURS) * (HEIGHT + SPACE) + SPACE
    caption = f'<text x="0" y="{total - 8}">{last / 3600:.2f} hours</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 0 {WIDTH + 20} {total}" font-family="sans-serif"'
        f' font-size="13">{"".join(strips)}{caption}</svg>\n'
    )
