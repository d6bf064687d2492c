"""The text of `docs/gallery.md`: a part for each group, and in it one for each example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gallery_cases import GROUPS
from gallery_pictures import FOLDER

if TYPE_CHECKING:
    from make_gallery import Example


def section(example: Example) -> str:
    """The part of the gallery about one example."""
    plan = example.plan
    ranks = " | ".join(f"`{rank}`" for rank in example.passes)
    counts = " | ".join(str(count) for count in example.passes.values())
    after = " | ".join(str(plan["passes"][rank]) for rank in example.passes) if plan else ""
    settings = ", ".join(f"{n} = {v}" for n, v in example.parameters.items())
    return "\n".join(
        [
            f"### {example.name}",
            "",
            example.what,
            "",
            f"Source: {example.source}",
            "",
            "```attn",
            example.spec + "```",
            "",
            f"| passes over | {ranks} |",
            f"|---|{'---|' * len(example.passes)}",
            f"| as written | {counts} |",
            *([f"| as compiled | {after} |"] if plan else []),
            "",
            *([f"Counted at {settings}.", ""] if settings else []),
            *compiled(example),
            "",
            *pictures(example),
        ]
    )


def compiled(example: Example) -> list[str]:
    """Kernels, why there are several, and the traffic."""
    plan = example.plan
    if plan is None:
        (refusal,) = example.found["refusals"]
        return [f"Not tiled yet: `{refusal['term']}`: {refusal['reason']}."]
    shown = [_kernel(kernel) for kernel in plan["kernels"]]
    several = f"{len(shown)} kernels" if len(shown) > 1 else "One kernel"
    found = [f"{several}: {'; '.join(shown)}."]
    if len(shown) > 1:
        found += [reason for r in example.found["refusals"] if (reason := _reason(r)) not in found]
        between = [
            f"`{b['tensor']}`" + (f" (reduced over {_names(b['over'])})" if b["over"] else "")
            for b in plan["buffers"]
        ]
        if between:
            found.append(f"Stored between them: {', '.join(between)}.")
    at = ", ".join(f"{n} = {v}" for n, v in example.sizes.items())
    before, after = (example.found[k]["bytes"]["traffic"]["value"] for k in ("written", "compiled"))
    if before and after:
        found.append(
            f"Traffic at {at}: {_megabytes(before)} as written, {_megabytes(after)} as compiled, "
            f"{before / after:.3g} to 1."
        )
    return [line for part in found for line in (part, "")][:-1]


def _kernel(kernel: Mapping[str, Any]) -> str:
    over = f"over {_names(kernel['streams'])} " if kernel["streams"] else ""
    return f"`{kernel['name']}` {over}makes {_names(kernel['writes'])}"


def _reason(refusal: Mapping[str, Any]) -> str:
    return f"`{refusal['tensor']}` takes another pass: `{refusal['term']}`: {refusal['reason']}."


def _megabytes(count: int) -> str:
    digits = max(0, 3 - len(str(count // 1_000_000)))
    return f"{count / 1e6:,.{digits}f} MB"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def pictures(example: Example) -> list[str]:
    """Its points and tiles, how they are drawn, and its graph."""
    found: list[str] = []
    for name in example.shown.files:
        what = name.removesuffix(".svg").rpartition("_")[2]
        image = f"![The {what} of {example.name}.]({FOLDER}/{name})"
        if what == "graph":
            found += ["<details><summary>Graph</summary>", "", image, "", "</details>", ""]
        else:
            said = f"{_counts(example)}{example.shown.told}".strip()
            drawn = f"Drawn by `{example.shown.command}`."
            found = [image, "", *([said, ""] if said else []), drawn, "", *found]
    return found


def _counts(example: Example) -> str:
    if example.shown.tiles is None:
        return ""
    visited, needed, every = example.shown.tiles
    return f"Tiles at these sizes: {visited} visited, {needed} needed, {every} in all. "


def gallery(examples: Sequence[Example]) -> str:
    """The whole page."""
    by = {e.name: e for e in examples}
    grouped = {title: names.split() for title, names in GROUPS.items()}
    listed = [name for names in grouped.values() for name in names]
    if sorted(listed) != sorted(by):
        odd = sorted(set(listed) ^ by.keys()) or "some twice"
        raise ValueError(f"gallery_cases.py groups other examples than there are: {odd}")
    head = [
        "# Gallery",
        "",
        "Every attention in [`examples/`](../examples), with its source and the number of passes",
        "over each rank of its inputs, as written and as compiled. A pass goes once over a rank.",
        "Work that has to wait until a reduction over the rank is complete, and then goes over it",
        "again, makes another. Traffic counts each tensor once for each Einsum or kernel that",
        "reads or writes it, in f32; `attnc explain` gives it at any sizes.",
        "",
        "Where a condition says which points there are, a picture shows them with the tiles that",
        "the kernel [visits](ranges.md): dark blue ones are full, in pale ones each point is",
        "tested, the numbers are the order of a row. *Needed* are tiles with a point that counts,",
        "found by looking at every point. Tiles are small so that there are some; where another",
        "kernel computes the condition, points alone are shown. What signs mean is told in",
        "[pictures](pictures.md).",
        "",
        "This page is made by [`make_gallery.py`](make_gallery.py).",
        "",
    ]
    for title, names in grouped.items():
        head += [f"- {title}: {', '.join(f'[{n}](#{n})' for n in names)}"]
    parts = ["\n".join([*head, ""])]
    for title, names in grouped.items():
        parts += [f"## {title}\n", *(section(by[name]) for name in names)]
    return "\n".join(parts)
