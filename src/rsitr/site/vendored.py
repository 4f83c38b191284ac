"""Copy the scripts that the pages need from ``node_modules`` into the package, and say what they are.

    make vendor

npm checks what it downloads against the hashes of ``package-lock.json``. A machine without npm uses what is committed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsitr.records.files import write_text
from rsitr.records.provenance import sha256_file

VENDOR = Path(__file__).with_name("vendor")
MANIFEST = "vendored.json"
FILES = {
    "tabulator-tables": ("dist/js/tabulator.min.js", "dist/css/tabulator.min.css"),
    "vega": ("build/vega.min.js",),
    "vega-lite": ("build/vega-lite.min.js",),
    "vega-embed": ("build/vega-embed.min.js",),
    "openseadragon": ("build/openseadragon/openseadragon.min.js",),
}
LICENCES = "LICENSES.txt"
"""Of every package that is in one of the files: they bundle what they depend on."""
TOOLS = frozenset({"commander", "iconv-lite", "rw", "yargs"})
"""What only the command lines of the packages import, so that no file has it."""
MAPS = (b"//# sourceMappingURL=", b"/*# sourceMappingURL=")
"""How a line begins that names a file which is not copied."""


def vendored() -> list[Path]:
    """The files that a site needs, with their manifest and licences."""
    entries = json.loads((VENDOR / MANIFEST).read_text(encoding="utf-8"))
    return [VENDOR / name for name in (*(name for entry in entries for name in entry["files"]), LICENCES, MANIFEST)]


def manifest(root: Path) -> list[dict[str, Any]]:
    """What ``root`` locks: package, version, integrity and licence, and of each file its name and place."""
    locked = json.loads((root / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    return [
        {
            "package": package,
            "version": locked[f"node_modules/{package}"]["version"],
            "integrity": locked[f"node_modules/{package}"]["integrity"],
            "licence": locked[f"node_modules/{package}"]["license"],
            "files": {Path(place).name: place for place in places},
        }
        for package, places in FILES.items()
    ]


def copy(root: Path, out: Path = VENDOR) -> list[Path]:
    """Copy from ``node_modules`` below ``root`` and write the manifest; returns what was written."""
    entries, written = manifest(root), []
    for entry in entries:
        package = root / "node_modules" / entry["package"]
        for name, place in entry["files"].items():
            (out / name).write_bytes(content(package / place))
            written.append(out / name)
        entry["sha256"] = {name: sha256_file(out / name) for name in entry["files"]}
    write_text(out / LICENCES, licences(root))
    write_text(out / MANIFEST, json.dumps(entries, indent=1) + "\n")
    return [*written, out / LICENCES, out / MANIFEST]


def bundled(locked: Mapping[str, Any]) -> list[str]:
    """Where the packages of ``FILES`` are installed, and all that they depend on but for ``TOOLS``, in order."""
    waiting, found = [("", name) for name in FILES], set[str]()
    while waiting:
        inside, name = waiting.pop()
        while (place := f"{inside}/node_modules/{name}".lstrip("/")) not in locked:
            inside = inside.rpartition("/node_modules/")[0]  # a package sees those of the folders that it is in
        if place not in found:
            found.add(place)
            waiting += [(place, other) for other in locked[place].get("dependencies", ()) if other not in TOOLS]
    return sorted(found)


def licences(root: Path) -> str:
    """The licence texts of the packages that the files have parts of, each text once."""
    locked = json.loads((root / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    texts: dict[str, list[str]] = {}
    for place in bundled(locked):
        facts = locked[place]
        found = sorted(path for path in (root / place).iterdir() if path.stem.upper() in ("LICENSE", "LICENCE"))
        text = found[0].read_text(encoding="utf-8") if found else f"{facts['license']}\n"
        texts.setdefault(text.strip(), []).append(f"{place.removeprefix('node_modules/')} {facts['version']}")
    return "\n".join(f"{', '.join(names)}\n\n{text}\n\n{'-' * 80}" for text, names in texts.items()) + "\n"


def content(path: Path) -> bytes:
    """A file without the line that names its source map: a browser would look for that."""
    return b"".join(line for line in path.read_bytes().splitlines(keepends=True) if not line.startswith(MAPS))


if __name__ == "__main__":
    for path in copy(Path.cwd()):
        print(path)
