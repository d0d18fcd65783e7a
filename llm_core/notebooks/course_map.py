"""The picture at the top of every chapter: the way of a text through the model, and where we are.

Building a chapter writes its `assets/map_NN.svg`.
"""

from llm_core.files import ASSETS, write_text

STEPS = (
    ("01", "tokens"),
    ("02", "embeddings"),
    ("03", "positions"),
    ("04", "attention"),
    ("05", "block"),
    ("06", "model"),
    ("07", "training"),
    ("08", "sampling"),
)

WIDTH, HEIGHT = 100, 46
GAP = 14
MARGIN = 8


def draw_map(chapter: str) -> str:
    """Return the map as SVG, with the step of `chapter` ("00" to "08") highlighted."""
    total = 2 * MARGIN + len(STEPS) * WIDTH + (len(STEPS) - 1) * GAP
    boxes = "\n".join(
        _box(index, *step, here=step[0] == chapter) for index, step in enumerate(STEPS)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {HEIGHT + 2 * MARGIN}" '
        f'width="{total}" role="img" font-family="system-ui, sans-serif">\n'
        f"<title>{_title(chapter)}</title>\n{boxes}\n</svg>\n"
    )


def write_map(chapter: str) -> None:
    """Write `assets/map_NN.svg` for the chapter with the number NN."""
    write_text(ASSETS / f"map_{chapter}.svg", draw_map(chapter))


def _title(chapter: str) -> str:
    names = dict(STEPS)
    here = f"here: {names[chapter]}" if chapter in names else "here: the start"
    return f"The course from tokens to sampling; {here}"


def _box(index: int, number: str, name: str, here: bool) -> str:
    x = MARGIN + index * (WIDTH + GAP)
    middle = x + WIDTH / 2
    fill, ink, stroke = ("#00529b", "#ffffff", 3) if here else ("#eef2f6", "#24303c", 1)
    weight = "bold" if here else "normal"
    arrow = "" if index == 0 else _arrow(x - GAP)
    return (
        f'{arrow}<rect x="{x}" y="{MARGIN}" width="{WIDTH}" height="{HEIGHT}" rx="7" '
        f'fill="{fill}" stroke="#00529b" stroke-width="{stroke}"/>\n'
        f'<text x="{middle}" y="{MARGIN + 18}" text-anchor="middle" font-size="12" '
        f'fill="{ink}">{number}</text>\n'
        f'<text x="{middle}" y="{MARGIN + 35}" text-anchor="middle" font-size="14" '
        f'font-weight="{weight}" fill="{ink}">{name}</text>'
    )


def _arrow(x: float) -> str:
    y = MARGIN + HEIGHT / 2
    return (
        f'<path d="M{x + 2} {y}h{GAP - 7}m-3 -4l4 4l-4 4" fill="none" stroke="#6b7785" '
        f'stroke-width="1.5"/>\n'
    )
