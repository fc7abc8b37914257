"""How the stages of a run grow with the catalogue: a table and a plot from the reports of runs of several sizes.

    python docs/lab/peers/growth.py PLOT ITEMS=REPORT ...    # an .svg, and report.json of runs, smallest first

Prints a row per stage: its seconds at each size, and the exponent p of seconds ~ items^p between the two largest sizes
at which it takes a tenth of a second or more. Nothing is needed beside Python.
"""

import json
import math
import sys

plot, *arguments = sys.argv[1:]
runs = [(int(items), json.load(open(path))) for items, path in (argument.split("=", 1) for argument in arguments)]
times = [{stage["name"]: stage["seconds"] for stage in report["stages"]} for _, report in runs]
sizes = [items for items, _ in runs]
if len(set(sizes)) < 2:
    sys.exit("growth.py: give reports of at least two sizes, as ITEMS=REPORT")
names = [stage["name"] for stage in runs[-1][1]["stages"]]
names = [name for name in names if times[-1][name] >= 2.0]


def exponent(name):
    known = [(n, t[name]) for n, t in zip(sizes, times) if t.get(name, 0) >= 0.1]
    if len(known) < 2:
        return None
    (n, small), (m, large) = known[-2:]
    return math.log(large / small) / math.log(m / n)


print("| stage | " + " | ".join(f"{n:,} items, s" for n in sizes) + " | exponent |")
print("|---" * (len(sizes) + 2) + "|")
for name in names:
    p = exponent(name)
    cells = [f"{t[name]:,.1f}" if name in t else "" for t in times]
    print(f"| {name} | " + " | ".join(cells) + f" | {'' if p is None else f'{p:.2f}'} |")
peaks = [max(stage["peak_mib"] for stage in report["stages"]) for _, report in runs]
print("| all | " + " | ".join(f"{sum(t.values()):,.0f}" for t in times) + " | |")
print("| peak memory, MiB | " + " | ".join(f"{peak:,}" for peak in peaks) + " | |")

# Both axes are logarithmic: a straight line is a power, and its slope the exponent.
WIDTH, HEIGHT, LEFT, TOP, RIGHT = 720, 420, 56, 16, 250
low, high = 0.1, max(max(t.values()) for t in times) * 1.5
x = lambda n: LEFT + (WIDTH - LEFT - RIGHT) * math.log(n / sizes[0]) / math.log(sizes[-1] / sizes[0])
y = lambda t: HEIGHT - 32 - (HEIGHT - 32 - TOP) * math.log(max(t, low) / low) / math.log(high / low)
COLOURS = ["#1b6ca8", "#c8553d", "#588157", "#8e6c8a", "#b08900", "#3a7d8c", "#7a4b2a", "#55606e"]
drawn = sorted(names, key=lambda name: -times[-1][name])[: len(COLOURS)]
font = 'font-family="sans-serif" font-size="12"'
lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {font}>']
lines.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>')
for power in range(-1, math.floor(math.log10(high)) + 1):
    at = y(10.0**power)
    lines.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
    lines.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>')
for n in sizes:
    lines.append(f'<text x="{x(n):.1f}" y="{HEIGHT - 10}" text-anchor="middle">{n:,}</text>')
last = -math.inf
for colour, name in zip(COLOURS, drawn):
    points = [(x(n), y(t[name])) for n, t in zip(sizes, times) if name in t]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    lines += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>' for px, py in points]
    # Labels stand below each other where lines end together.
    last = max(points[-1][1] + 4, last + 14)
    lines.append(f'<text x="{WIDTH - RIGHT + 8}" y="{last:.1f}" fill="{colour}">{name}</text>')
open(plot, "w").write("\n".join(lines + ["</svg>", ""]))
