"""The tables of PIR (J. Pan, M. Ma, Q. Ma, C. Bai, S. Chen, 'PIR', arXiv:2405.10160, 2024), I to V, as specs."""

from __future__ import annotations

from functools import partial
from typing import Any

from rsitr.tables import paper_table
from rsitr.tables.amfmn import WHICH_CAMP
from rsitr.tables.paper_table import PaperRow, PaperTable, printed_row
from rsitr.tables.view import HEADERS

DATASETS = ("rsicd", "rsitmd")
SIZED = {**HEADERS, "params_m": "parameters (M)"}
DETECTED = "published with detected regions (RoI Transformer) instead of the cells of a feature map"

_row = partial(printed_row, "pir2024")


def _closed(label: str, method: str, backbone: str, variant: str = "", **rest: Any) -> PaperRow:
    return _row("table1", label, method, variant=variant, backbone=backbone, facts=(backbone,), **rest)


VIT_BERT = "ViT-B / BERT"
TABLE_1 = PaperTable(
    name="pir-table-1",
    title="PIR, Table I: closed domain",
    caption=(
        "Retrieval in percent after training on the train split of the same dataset. TL: triplet loss; CL: "
        "contrastive loss; TEL: Transformer encoder layers. Backbones are those of the paper, whose code chose the "
        "epoch on test. Rows below the last line are not in the paper, but for DeiT-S, which its code trains for ViT-B."
    ),
    datasets=(*DATASETS, ""),
    facts=("backbones (image / text)",),
    measures=SIZED,
    printed=SIZED,
    rows=(
        _closed("VSE (TL)", "vse@resnet-gru-triplet", "ResNet-50 / GRU", "loss=TL"),
        _closed("SCAN i2t", "scan-i2t", "RoI Trans / GRU", differs=DETECTED),
        _closed("SCAN t2i", "scan-t2i", "RoI Trans / GRU", differs=DETECTED),
        _closed("CAMP", "camp-triplet", "RoI Trans / GRU", printed="camp", remark=WHICH_CAMP, differs=DETECTED),
        _closed("CAMERA", "camera", "RoI Trans / BERT"),
        _closed("LW-MCR", "lw-mcr@distilled", "CNNs / CNNs", rule=True),
        _closed("AMFMN", "amfmn-sim", "ResNet-18 / GRU", printed="amfmn"),
        _closed("GaLR", "galr", "ResNet-18+ppyolo / GRU"),
        _closed("KCR", "kcr", "ResNet-101 / BERT"),
        _closed("SWAN", "swan", "ResNet-50 / GRU"),
        _closed("HVSA", "hvsa", "ResNet-50 / GRU", remark="on RSICD the mR of SWAN is printed"),
        _closed("DOVE", "dove", "ResNet-50+RoI Trans / GRU"),
        _closed("VSE (CL)", "vse@vit-bert", VIT_BERT, "loss=CL", rule=True),
        _closed("VSE (TL)", "vse@swin-bert-triplet", "Swin-T / BERT", "loss=TL"),
        _closed("VSE (CL)", "vse", "Swin-T / BERT", "loss=CL"),
        _closed("VSE + TEL", "vse@tel", "Swin-T / BERT", "+TEL", remark="the paper does not say which loss"),
        _closed("PIR-ITR with hard", "pir-itr-hard", "Swin-T+ResNet-50 / BERT", rule=True),
        _closed("PIR-ITR with soft", "pir-itr-soft", "Swin-T+ResNet-50 / BERT"),
        PaperRow("VSE++", "vse++", facts=("ResNet-18 / GRU",), rule=True),
        PaperRow("CAMP-bce", "camp-bce", facts=("ResNet-18 / GRU",)),
        _row("table1", "VSE (CL)", "vse@deit-bert", variant="loss=CL", backbone=VIT_BERT, facts=("DeiT-S / BERT",)),
        PaperRow("LW-MCR without distillation", "lw-mcr", facts=("CNNs / CNNs",)),
    ),
)

ITSELF = "the dataset itself"
VIT_B, VIT_L, WITH_PRIOR = "ViT-B / Transformer", "ViT-L / Transformer", "ResNet-50+ViT-B / Transformer"
REMOTE = "RET-3 + DET-10 + SEG-4"


def _open(
    label: str, method: str, backbone: str, trained: str, tuned: str = "", variant: str = "", *, rule: bool = False
) -> PaperRow:
    facts = (backbone, trained, tuned)
    return _row("table2", label, method, label.lower(), variant, backbone, facts=facts, rule=rule)


TABLE_2 = PaperTable(
    name="pir-table-2",
    title="PIR, Table II: open domain",
    caption=(
        "Retrieval in percent after training on more than the dataset itself. RET-2: RSICD and RSITMD; RET-3: these "
        "and UCM-Captions, without test images found by perceptual hashes, which miss crops (table leakage). Training "
        "data are those of the paper. RemoteCLIP has seen the train splits of RSICD and RSITMD, which are in RET-3."
    ),
    datasets=DATASETS,
    facts=("backbones (image / text)", "trained on", "fine-tuned on"),
    measures=SIZED,
    printed=SIZED,
    rows=(
        _open("CLIP", "clip", VIT_B, "WIT (CLIP)"),
        _open("CLIP-FT", "clip-ft", VIT_B, "WIT (CLIP)", ITSELF),
        _open("PE-RSITR", "pe-rsitr", VIT_B, "WIT (CLIP)", ITSELF),
        _open("RemoteCLIP", "remoteclip", VIT_B, REMOTE, rule=True),
        _open("RemoteCLIP", "remoteclip@vit-l-14", VIT_L, REMOTE),
        _open("SkyCLIP", "skyclip", VIT_B, "SkyScript"),
        _open("SkyCLIP", "skyclip@vit-l-14", VIT_L, "SkyScript"),
        _open("GeoRSCLIP", "georsclip", VIT_B, "RS5M", rule=True),
        _open("GeoRSCLIP-FT", "georsclip-ft", VIT_B, "RS5M", ITSELF, "train=own"),
        _open("GeoRSCLIP-FT", "georsclip@ret-2", VIT_B, "RS5M", "RET-2", "train=RET-2"),
        _open("PIR-CLIP", "pir-clip", WITH_PRIOR, "RS5M", ITSELF, "train=own", rule=True),
        _open("PIR-CLIP", "pir-clip@ret-2", WITH_PRIOR, "RS5M", "RET-2", "train=RET-2"),
        _open("PIR-CLIP", "pir-clip@ret-3", WITH_PRIOR, "RS5M", "RET-3", "train=RET-3"),
    ),
)

MODULES = {"S-PAE": "spatial", "T-PAE": "temporal", "L_A": "affiliation"}
"""Spatial-PAE, Temporal-PAE, affiliation loss: as the paper and variants name them."""
REMARKS = {
    "CLIP-baseline": "the text says that this is PIR-CLIP without its modules, other conditions being the same; the "
    "same seven values are printed for CLIP-FT, trained from WIT, in Table II"
}
"""By label in Table III."""
NAMED = {"pir-clip@baseline": "clip-ft", "pir-clip@spatial": "pir-clip@no-affiliation"}
"""What a row would be called after its modules -> what ours is called."""


def _ablation(model: str, method: str, whole: str, combinations: tuple[str, ...], base: str) -> list[PaperRow]:
    """Rows of Table III: ``method`` with some of its modules, ``whole`` with all of them; S, T and A stand for them.

    ``base`` is what the paper calls the row without any; empty if it does not have the rows.
    """
    rows = []
    for letters in combinations:
        parts = [module for module, letter in zip(MODULES, "STA", strict=True) if letter in letters]
        label = "".join(f"+{part}" for part in parts) or base or "baseline"
        variant = "-".join(MODULES[part] for part in parts) or "baseline"
        ours = method if letters == whole else NAMED.get(f"{method}@{variant}", f"{method}@{variant}")
        facts = (model, *("✓" if part in parts else "" for part in MODULES))
        row = partial(_row, "table3", printed=method, variant=label) if base else PaperRow
        rows.append(row(label, ours, facts=facts, rule=not parts, remark=REMARKS.get(label, "")))
    return rows


OF_PIR_ITR = ("", "S", "T", "A", "ST", "SA", "TA", "STA")
TABLE_3 = PaperTable(
    name="pir-table-3",
    title="PIR, Table III: modules",
    caption=(
        "What each module adds, in percent. S-PAE: Spatial-PAE, with the belief that selects its tokens; T-PAE: "
        "Temporal-PAE; L_A: affiliation loss. The paper's rows of PIR-ITR have the hard belief. Those with the soft "
        "belief, below the second line, are not in the paper; without S-PAE nothing is selected, and the two are the "
        "same model."
    ),
    datasets=("rsitmd",),
    stub="modules",
    facts=("model", *MODULES),
    rows=(
        *_ablation("PIR-ITR, hard", "pir-itr-hard", "STA", OF_PIR_ITR, "baseline"),
        *_ablation("PIR-ITR, soft", "pir-itr-soft", "STA", OF_PIR_ITR, ""),
        *_ablation("PIR-CLIP", "pir-clip", "SA", ("", "S", "A", "SA"), "CLIP-baseline"),
    ),
)

SIZES = ("10", "20", "30", "40", "50")
"""K of the hard belief (Eq. 4): how many tokens it keeps."""
CHOSEN_SIZE = "40"
"""That of the paper's other tables, which is the method's default."""

TABLE_4 = PaperTable(
    name="pir-table-4",
    title="PIR, Table IV: filter size",
    caption=(
        "Retrieval in percent when the hard belief keeps the K best tokens of each image (Eq. 4), and with the soft "
        "belief, which keeps and weights them all (Eq. 6). An image has 50 tokens, the pooled one included."
    ),
    datasets=("rsitmd",),
    stub="filter size",
    facts=("belief",),
    rows=(
        *(
            _row(
                *("table4", f"K = {size}"),
                "pir-itr-hard" if size == CHOSEN_SIZE else f"pir-itr-hard@keep-{size}",
                variant=f"k={size} hard",
                facts=("hard",),
            )
            for size in SIZES
        ),
        _row("table4", "K = 50", "pir-itr-soft", variant="k=50 soft", facts=("soft",), rule=True),
    ),
)

ENCODERS = {
    **{"vgg16": "VGG-16", "vgg19": "VGG-19", "resnet50": "ResNet-50", "resnet101": "ResNet-101"},
    **{"vit": "ViT", "swin-t": "Swin-T"},
}
"""Of instructions: as ``published.csv`` and variants name them, and as the paper does."""
GRID = {"AID": tuple(ENCODERS)} | dict.fromkeys(("ImageNet", "RESISC45"), ("vgg16", "resnet50", "swin-t"))
"""Those in the paper, by the scenes that they were trained on."""
CHOSEN_PRIOR = ("resnet50", "AID")
"""That of the paper's other tables, which is the method's default."""

TABLE_5 = PaperTable(
    name="pir-table-5",
    title="PIR, Table V: instruction encoders",
    caption=(
        "Retrieval in percent of PIR-ITR with the hard belief, by instruction encoder and what it was trained to "
        "classify. Most images of AID are those of RSICD under the same names, test images included: see the tables "
        "leakage and prior-leak. Rows below the last line are not in the paper: AID without the images that overlap a "
        "test set, and an encoder that was not trained."
    ),
    datasets=("rsitmd",),
    stub="instruction encoder",
    facts=("trained on",),
    rows=(
        *(
            _row(
                *("table5", ENCODERS[encoder]),
                "pir-itr-hard" if (encoder, scenes) == CHOSEN_PRIOR else f"pir-itr-hard@{encoder}-{scenes.lower()}",
                variant=f"instruction={encoder}@{scenes}",
                facts=(scenes,),
                rule=encoder == encoders[0],
            )
            for scenes, encoders in GRID.items()
            for encoder in encoders
        ),
        PaperRow("ResNet-50", "pir-itr-hard@resnet50-aid-clean", facts=("AID without overlap",), rule=True),
        PaperRow("ResNet-50", "pir-itr-hard@random-prior", facts=("nothing",)),
    ),
)

TABLES = (TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5)
TABLE = paper_table.declared(
    "pir",
    TABLES,
    "Tables I to V of PIR: the printed numbers and ours, with the difference where the two are comparable.",
)
