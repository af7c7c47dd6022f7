"""The ablation's table in Markdown, put between two marks of a document that people write around it."""

from __future__ import annotations

from pathlib import Path

from como_ros.errors import ComoError

BEGIN, END = "<!-- ablation begins -->", "<!-- ablation ends -->"
FIGURES = {
    "lp_r2": "R2",
    "lp_r2_x": "x",
    "lp_r2_y": "y",
    "lp_r2_z": "z",
    "mlp_r2": "R2 (MLP)",
    "lp_mse": "LP-MSE",
    "s_pcfc": "S-PCFC",
    "s_pcfc_shuffled": "shuffled",
    "effective_rank": "rank",
    "cka": "CKA",
    "codes_used": "words used",
    "perplexity": "perplexity",
    "direction_bits": "bits: direction",
    "room_bits": "bits: room",
}


def write(document: Path, table: dict[str, dict[str, float]]) -> None:
    """Replace what stands between the marks."""
    text = document.read_text()
    if BEGIN not in text or END not in text:
        raise ComoError(f"{document} lacks the lines {BEGIN} and {END}, between which the table goes")
    head, tail = text.partition(BEGIN)[0], text.partition(END)[2]
    document.write_text(f"{head}{BEGIN}\n{markdown(table)}\n{END}{tail}")


def markdown(table: dict[str, dict[str, float]]) -> str:
    """A row a column of the ablation: mean, and standard deviation over the seeds."""
    header = ["", "seeds", *FIGURES.values()]
    lines = [_line(header), _line(["---"] * len(header))]
    for name, row in table.items():
        lines.append(_line([name, str(round(row["seeds"])), *(_cell(row, key) for key in FIGURES)]))
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(row: dict[str, float], key: str) -> str:
    if key not in row:
        return ""
    digits = 1 if abs(row[key]) >= 10 else 2
    spread = f" ±{row[f'{key}_std']:.{digits}f}" if row["seeds"] > 1 else ""
    return f"{row[key]:.{digits}f}{spread}"
