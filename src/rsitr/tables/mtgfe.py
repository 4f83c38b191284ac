"""The tables of MTGFE (X. Zhang et al., 'A Fusion Encoder with Multi-Task Guided for Cross-Modal Text-Image Retrieval
in Remote Sensing', 2023), II and III, as specs; I is ``mtgfe_datasets``, IV ``mtgfe_filter``."""

from __future__ import annotations

from functools import partial

from rsitr.tables import paper_table
from rsitr.tables.paper_table import PaperRow, PaperTable, printed_row

DATASETS = ("ucm", "sydney", "rsicd", "rsitmd")

OF_SCAN = "copied from AMFMN's Table II: there SCAN t2i on ucm and sydney, SCAN i2t on rsicd and rsitmd"
OF_AMFMN = "copied from AMFMN's Table II: there AMFMN-fusion on ucm and rsicd, AMFMN-sim on sydney and rsitmd"
_row = partial(printed_row, "mtgfe2023", "table2")

TABLE_2 = PaperTable(
    name="mtgfe-table-2",
    title="MTGFE, Table 2: comparison",
    caption=(
        "Retrieval with sentences on the test splits, in percent. The paper takes its rows of VSE++, SCAN, MTFN and "
        "AMFMN from AMFMN's Table II, those of other methods from their papers. Rows below the line are not in the "
        "paper: EnVLF, whose abstract prints no numbers, and two encoders without fusion."
    ),
    datasets=DATASETS,
    rows=(
        _row("VSE++", "vse++", remark="copied from AMFMN's Table II"),
        _row("SCAN", "scan-t2i", "scan", remark=OF_SCAN, differs=OF_SCAN),
        _row("MTFN", "mtfn", remark="copied from AMFMN's Table II"),
        _row("SAM", "sam"),
        _row("AMFMN", "amfmn-sim", "amfmn", remark=OF_AMFMN, differs=OF_AMFMN),
        _row("LW-MCR", "lw-mcr@distilled"),
        _row("MAFA-Net", "mafa-net"),
        _row("FBCLM", "fbclm"),
        _row("GaLR", "galr"),
        _row("MTGFE", "mtgfe"),
        PaperRow("EnVLF", "envlf", rule=True),
        PaperRow("two encoders", "vse"),
    ),
)

TASKS = ("ITM", "MLM", "MVJRC")


def _tasks(method: str, *tasks: str, remark: str = "") -> PaperRow:
    """A combination of training tasks, and our method for it."""
    name = "+".join(tasks)
    ticks = tuple("✓" if task in tasks else "" for task in TASKS)
    return printed_row("mtgfe2023", "table3", name, method, variant=name, facts=ticks, remark=remark)


TABLE_3 = PaperTable(
    name="mtgfe-table-3",
    title="MTGFE, Table 3: training tasks",
    caption=(
        "What each training task adds, in percent. ITM: image-text matching, which scores a pair; MLM: masked language "
        "modelling; MVJRC: multi-view joint representations contrast."
    ),
    datasets=("rsitmd",),
    stub="tasks",
    facts=TASKS,
    rows=(
        _tasks("mtgfe@itm", "ITM", remark="the text gives an mR of 38.89"),
        _tasks("mtgfe@itm-mlm", "ITM", "MLM"),
        _tasks("mtgfe@itm-mvjrc", "ITM", "MVJRC"),
        _tasks("mtgfe", *TASKS, remark="i2t R@5 is printed as 31.19, for the same model in Table 2 as 40.93"),
    ),
)

TABLES = (TABLE_2, TABLE_3)
TABLE = paper_table.declared(
    "mtgfe",
    TABLES,
    "Tables 2 and 3 of MTGFE: the printed numbers and ours, with the difference where the two are comparable.",
)
