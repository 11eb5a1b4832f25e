"""Write the tables of docs/comparison.md: the paper's, and those of folders of `el-larq compare`.

    python benchmarks/comparison_page.py FOLDER... [--page docs/comparison.md]

The text between `<!-- NAME -->` and `<!-- end -->` in the page is replaced. For the name `published`, it becomes the paper's table;
for the name of a network, this project's table, its plot, and the pairs of methods whose order differs from that in the paper's
table. Text outside these marks is kept.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from el_larq import published
from el_larq.files import write_bytes
from el_larq.methods.method_registry import METHODS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--page", type=Path, default=Path("docs/comparison.md"))
    arguments = parser.parse_args()
    sections = {"published": paper()}
    for folder in arguments.folders:
        content = json.loads((folder / "results.json").read_text("utf-8"))
        for network in dict.fromkeys(row["network"] for row in content["rows"]):
            picture = arguments.page.with_name(f"comparison-{network}.svg")
            shutil.copy(folder / "comparison.svg", picture)
            sections[network] = ours(network, content, picture.name)
    text = arguments.page.read_text("utf-8")
    for name, section in sections.items():
        start, end = f"<!-- {name} -->\n", "<!-- end -->"
        if start not in text:
            parser.error(f"{arguments.page} has no mark {start.strip()}")
        before, _, rest = text.partition(start)
        text = f"{before}{start}{section}{end}{rest.partition(end)[2]}"
    write_bytes(arguments.page, text.encode())


def paper() -> str:
    """The paper's table, with a link to the page of each method that this project has."""
    rows = []
    for row in published.TABLE:
        page = f"[`{row.method}`](methods/{row.method}.md)" if row.method in METHODS else ""
        rows.append((row.label, str(row.year or ""), *map(published.spell, row.top1), page, row.note))
    return _table(("method", "year", *published.COLUMNS, "here", "note"), rows)


def ours(network: str, content: dict[str, Any], picture: str) -> str:
    rows = sorted((row for row in content["rows"] if row["network"] == network), key=lambda row: -(row["accuracy_mean"] or 0))
    cells = [
        (
            f"`{row['method']}`",
            row["bits"],
            row["link"],
            *("" if accuracy is None else f"{100 * accuracy:.1f}" for accuracy in row["accuracies"]),
            _mean(row),
            _text(row["bops"], 1e6, 2),
            _text(row["flops"], 1e6, 2),
            _text(row["beside"], 1e6, 2),
            _text(row["tflite_bytes"], 1e3, 0),
            _text(row["latency_ms"], 1, 3),
            published.spell(published.top1(row["method"], network)),
        )
        for row in rows
    ]
    seeds = [f"seed {seed}" for seed in range(max(len(row["accuracies"]) for row in rows))]
    headings = ("method", "bits", "link", *seeds, "mean, range", "M BOPs", "M FLOPs", "M other ops", "kB", "ms here", "published")
    failures = [f"- `{row['method']}` {error}\n" for row in rows for error in row["errors"]]
    return "\n".join(
        filter(None, (_table(headings, cells), f"![Accuracy against costs]({picture})\n", "".join(failures), _order(network, rows)))
    )


def _mean(row: dict[str, Any]) -> str:
    if row["accuracy_mean"] is None:
        return ""
    low, mean, high = (100 * row[f"accuracy_{what}"] for what in ("min", "mean", "max"))
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


def _order(network: str, rows: list[dict[str, Any]]) -> str:
    """The pairs of methods whose order by our mean accuracies is the opposite of that in the paper's table."""
    told = [row for row in rows if row["accuracy_mean"] is not None]
    told = [row for row in told if isinstance(published.top1(row["method"], network), float)]
    found = []
    same = 0
    for ahead in told:
        for behind in told:
            paper_ahead, paper_behind = (published.top1(row["method"], network) for row in (ahead, behind))
            assert isinstance(paper_ahead, float)
            assert isinstance(paper_behind, float)
            if paper_ahead <= paper_behind:
                continue
            difference = 100 * (ahead["accuracy_mean"] - behind["accuracy_mean"])
            if difference >= 0:
                same += 1
                continue
            seeds = min(sum(value is not None for value in row["accuracies"]) for row in (ahead, behind))
            apart = "ours are apart" if ahead["accuracy_max"] < behind["accuracy_min"] else "our ranges overlap"
            found.append(
                f"| `{ahead['method']}` before `{behind['method']}` | {paper_ahead - paper_behind:+.1f} | {difference:+.1f} | "
                f"{apart if seeds > 1 else 'one seed says nothing of it'} |\n"
            )
    text = f"Of the {same + len(found)} pairs of methods that the paper's table puts in an order, {same} have it here too"
    if not found:
        return f"{text}.\n"
    head = "| the paper's order | points there | points here | seeds |\n| --- | --- | --- | --- |\n"
    return f"{text}; in {len(found)} it is the other way round:\n\n{head}{''.join(found)}"


def _text(value: float | None, unit: float, digits: int) -> str:
    return "" if value is None else f"{value / unit:.{digits}f}"


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
