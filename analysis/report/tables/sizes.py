"""Bits and bytes by family and K."""

from analysis.levels import shown_levels
from analysis.report.findings import Findings, NothingToShow
from analysis.report.latex import escape, number, tabular
from analysis.report.tables.notes import gaps_note, levels_note, range_of
from analysis.report.tables.table import Table, rows_of
from analysis.statistics.comparison import sizes

BOPS = (
    r"MBOPs: millions of weight-only bit operations for one image, $\sum \mathrm{MACs} \cdot \lceil\log_2 K\rceil "
    r"\cdot 32$ over the layers. "
)


def sizes_table(findings: Findings) -> Table:
    """Return bits per weight and bytes by family and K.

    Raises:
        NothingToShow: there are no data; the message says why.
    """
    names = findings.view.names
    frame = sizes(findings.view.restrict(findings.compared))
    if frame.empty:
        raise NothingToShow("no quantized trial with its full budget")
    has_bops = frame["weight_bops"].notna().any()
    header = ["$K$", "family", "placement", "bits", "conv", "linear", "entropy", "kB", "smaller"]
    header += ["MBOPs"] if has_bops else []
    levels = shown_levels(frame["num_levels"], most=12)
    rows = [
        [
            *(str(row.num_levels), escape(names.family(row.family)), escape(row.placement or "")),
            *(number(bits, 2) for bits in (row.bits_per_weight, row.conv_bits_per_weight, row.linear_bits_per_weight)),
            *(number(row.entropy_bits_per_weight, 2), number(row.artifact_bytes / 1000, 1)),
            number(row.times_smaller, 1) + r"$\times$",
            *([number(row.weight_bops / 1e6, 1)] if has_bops else []),
        ]
        for row in rows_of(frame[frame["num_levels"].isin(levels)])
    ]
    notes = (
        "Bits: size of the compressed file over the number of parameters. Conv and linear: codebooks, code tables and "
        "levels of these layers over their weights. Entropy: entropy of the levels, a lower bound. kB: payload of the "
        "file. Smaller: compression factor against 32 bits per parameter. "
        f"{BOPS if has_bops else ''}Means over "
        f"{range_of(frame['n'])} {'seed' if frame['n'].max() == 1 else 'seeds'}."
        f"{levels_note(frame, levels)}{gaps_note(findings)}"
    )
    columns = f"lll{'r' * (len(header) - 3)}"
    return Table(frame=frame, latex=tabular(header, [(None, rows)], notes, columns, names.titles.get("sizes", "")))
