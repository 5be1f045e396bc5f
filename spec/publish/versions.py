"""Publish a built site beside all versions that were published before.

Use: `python -m spec.publish.versions build/site FOLDER`. The folder is what a web
server shows: the current site at its top, and below ``v/`` each version as it was when
it was first published, with a line on each page that says so. Nothing below ``v/`` is
ever written again, so that a citation of a version leads to what was cited.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spec.cells import SpecificationError
from spec.publish import citations, records
from spec.releases import RELEASES

KEPT = "v"
LIST = "versions.json"
RULES = "rules.json"
PAGE = "versions.md"
_BODY = re.compile(r"<body\b[^>]*>")
_LISTED = re.compile(r'(<ul id="version-list">).*?(</ul>)', re.S)


def today() -> str:
    """The day of the build; SOURCE_DATE_EPOCH sets it, as for other builds."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return moment.date().isoformat()


def scope() -> str:
    """Of which version and kernels a chapter speaks, on which evidence of which day."""
    recorded = sorted({kept.made for kept in records.rows().values()})
    ablated = f"; ablations recorded {recorded[-1]}" if recorded else ""
    return (
        f"Version {citations.version()}, built {today()}. Speaks of Linux "
        f"{RELEASES[0]} to {RELEASES[-1]} as modelled from their sources. Evidence: "
        f"explorations of this very code, made for this build{ablated}."
    )


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def publish(site: Path, folder: Path) -> str:
    """Make the site the current one in the folder, and keep its version for ever.

    Args:
        site: the site as it was built.
        folder: where sites were published before, or nothing yet.

    Returns:
        The version.

    Raises:
        SpecificationError: there is no built site, the folder has other things in it,
            or the version is kept already with other rules.
    """
    if not (site / RULES).is_file():
        raise SpecificationError(
            f"there is no built site in {str(site)!r}; make site builds it"
        )
    if folder.exists() and any(folder.iterdir()) and not (folder / LIST).is_file():
        raise SpecificationError(
            f"{str(folder)!r} has files and no {LIST}, and all files in it would be "
            f"replaced; give an empty folder, or one that was published to before"
        )
    rules = _read(site / RULES)
    version: str = rules["version"]
    kept = folder / KEPT / version
    if kept.exists() and _meant(_read(kept / RULES)) != _meant(rules):
        raise SpecificationError(
            f"version {version} is published with other rules; give the "
            f"specification a new version in pyproject.toml"
        )
    if not kept.exists():
        _keep(site, kept, version)
    _replace(site, folder)
    _list_versions(folder)
    return version


def _meant(rules: dict[str, Any]) -> dict[str, tuple[int, str]]:
    return {rule["id"]: (rule["rev"], rule["checksum"]) for rule in rules["rules"]}


def _keep(site: Path, kept: Path, version: str) -> None:
    """Copy the site; a copy that is interrupted is not taken for a whole one."""
    part = kept.with_name(f"{kept.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(site, part)
    for path in part.rglob("*.html"):
        where = path.relative_to(part)
        text = path.read_text(encoding="utf-8")
        path.write_text(with_banner(text, where, version), encoding="utf-8")
    part.rename(kept)


def with_banner(page: str, where: Path, version: str) -> str:
    """A page with a line that says which version it is, and leads to the current one.

    Args:
        page: the page as HTML.
        where: its place in the site.
        version: of the specification.
    """
    up = "../" * (len(where.parts) + 1)
    is_rule = where.parts[0] == "r"
    there = f"{up}{where.parent.as_posix()}/" if is_rule else up
    banner = (
        f'<p class="ae-kept">Version {version}, kept as it was published. '
        f'<a href="{there}">The current version</a></p>'
    )
    return _BODY.sub(lambda body: f"{body[0]}{banner}", page, count=1)


def _replace(site: Path, folder: Path) -> None:
    """Put the site at the top of the folder in place of the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name != KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(site, folder, dirs_exist_ok=True)


def _list_versions(folder: Path) -> None:
    """Write the list of versions, for machines and on the page about them."""
    found = sorted(
        (path for path in (folder / KEPT).iterdir() if path.suffix != ".part"),
        key=lambda path: [int(part) for part in path.name.split(".")],
        reverse=True,
    )
    entries = [
        {
            "version": path.name,
            "address": f"{KEPT}/{path.name}/",
            "rules": len(_read(path / RULES)["rules"]),
        }
        for path in found
    ]
    text = json.dumps(entries, indent=1) + "\n"
    (folder / LIST).write_text(text, encoding="utf-8")
    page = folder / "versions" / "index.html"
    if page.is_file():
        items = "".join(
            f'<li><a href="../{entry["address"]}">{entry["version"]}</a>, '
            f"{entry['rules']} rules</li>"
            for entry in entries
        )
        old = page.read_text(encoding="utf-8")
        new = _LISTED.sub(lambda list: f"{list[1]}{items}{list[2]}", old)
        page.write_text(new, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Publish the site in the first folder to the second; 2 on wrong use."""
    if len(arguments) != 2 or not all(arguments):
        print("usage: python -m spec.publish.versions SITE FOLDER", file=sys.stderr)
        return 2
    site, folder = map(Path, arguments)
    try:
        version = publish(site, folder)
    except SpecificationError as mistake:
        print(f"Error: {mistake}", file=sys.stderr)
        return 2
    print(f"{folder}: version {version} is the current one and is kept")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
