#!/usr/bin/env python3
"""Draws how cost grows, from what `kafka.py --scaling` measured: one SVG, Tidegate and Kafka in each panel.

    plot.py RESULTS.json OUT.svg        standard library only
"""

import html
import json
import math
import pathlib
import statistics
import sys

PANEL_WIDTH, PANEL_HEIGHT, MARGIN, GAP = 300, 190, 56, 40
COLOURS = {"tidegate": "#0b6e8f", "kafka": "#c2571a"}
NAMES = {"tidegate": "Tidegate", "kafka": "Kafka 4.1"}
FIGURES = ("MB/s", "CPU s/GB")
FONT = 'font-family="sans-serif" font-size="11"'


def main():
    measured = json.loads(pathlib.Path(sys.argv[1]).read_text())["measured"]
    curves = collect(measured)
    if not curves:
        raise SystemExit("there is nothing of --scaling in it")
    pathlib.Path(sys.argv[2]).write_text(draw(curves))


def collect(measured):
    """{axis: {figure: {side: [(x, lowest, median, highest)]}}}"""
    values = {}
    for rounds in measured.values():
        for both in rounds:
            for side, figures in both.items():
                for figure in FIGURES:
                    if "axis" in figures and figure in figures:
                        sides = values.setdefault(figures["axis"], {}).setdefault(figure, {})
                        sides.setdefault(side, {}).setdefault(figures["at"], []).append(figures[figure])
    return {axis: {figure: {side: [(x, min(all_y), statistics.median(all_y), max(all_y)) for x, all_y in sorted(points.items())]
                            for side, points in sides.items()}
                   for figure, sides in figures.items()}
            for axis, figures in values.items()}


def draw(curves):
    width = len(curves) * (PANEL_WIDTH + MARGIN + GAP) + GAP
    height = len(FIGURES) * (PANEL_HEIGHT + MARGIN + GAP) + GAP
    panels = [Panel(axis, figure, figures.get(figure, {}), MARGIN + column * (PANEL_WIDTH + MARGIN + GAP),
                    GAP + row * (PANEL_HEIGHT + MARGIN + GAP)).svg()
              for column, (axis, figures) in enumerate(curves.items()) for row, figure in enumerate(FIGURES)]
    legend = "".join(f'<rect x="{MARGIN + 110 * at}" y="10" width="12" height="12" fill="{COLOURS[side]}"/>'
                     f'<text x="{MARGIN + 110 * at + 18}" y="20" {FONT}>{NAMES[side]}</text>' for at, side in enumerate(COLOURS))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">\n'
            f'<rect width="{width}" height="{height}" fill="#fff"/>\n{legend}\n' + "\n".join(panels) + "\n</svg>\n")


class Panel:
    """One figure against one axis: x in powers, y from 0; the bar at a point is from the least round to the best."""

    def __init__(self, axis, figure, sides, left, top):
        self.axis, self.figure, self.sides, self.left, self.top = axis, figure, sides, left, top
        self.xs = sorted({point[0] for points in sides.values() for point in points})
        self.high = nice(max((point[3] for points in sides.values() for point in points), default=1))

    def svg(self):
        bottom, right = self.top + PANEL_HEIGHT, self.left + PANEL_WIDTH
        parts = [f'<text x="{self.left}" y="{self.top - 8}" {FONT} font-weight="bold">{html.escape(self.figure)} by '
                 f'{html.escape(self.axis)}</text>']
        for step in range(5):
            value = self.high * step / 4
            y = self.y(value)
            parts.append(f'<path d="M{self.left} {y:.1f}H{right}" stroke="#ddd"/>'
                         f'<text x="{self.left - 6}" y="{y + 4:.1f}" {FONT} text-anchor="end">{value:.4g}</text>')
        for x in self.xs:
            parts.append(f'<text x="{self.x(x):.1f}" y="{bottom + 16}" {FONT} text-anchor="middle">{short(x)}</text>')
        parts += [self.curve(side, points) for side, points in self.sides.items()]
        return "".join(parts)

    def curve(self, side, points):
        colour = COLOURS[side]
        line = " ".join(f"{self.x(x):.1f},{self.y(middle):.1f}" for x, _, middle, _ in points)
        bars = "".join(f'<path d="M{self.x(x):.1f} {self.y(low):.1f}V{self.y(high):.1f}" stroke="{colour}" opacity=".5"/>'
                       f'<circle cx="{self.x(x):.1f}" cy="{self.y(middle):.1f}" r="3" fill="{colour}"/>'
                       for x, low, middle, high in points)
        return f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>{bars}'

    def x(self, value):
        low, high = math.log(self.xs[0]), math.log(self.xs[-1])
        share = (math.log(value) - low) / (high - low) if high > low else 0.5
        return self.left + 10 + share * (PANEL_WIDTH - 20)

    def y(self, value):
        return self.top + PANEL_HEIGHT * (1 - value / self.high)


def nice(value):
    """The next of 1, 2, 4, 5, 10 in its power of ten."""
    power = 10 ** math.floor(math.log10(value)) if value > 0 else 1
    return next(step * power for step in (1, 2, 4, 5, 10) if value <= step * power * 1.0001)


def short(value):
    return f"{value / 1000:.3g}k" if value >= 1000 else f"{value:g}"


if __name__ == "__main__":
    main()
