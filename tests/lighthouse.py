"""Audit the built site with Lighthouse, a page of each kind, on a phone and a desk.

Use: `python tests/lighthouse.py build/site build/lighthouse`; the second folder
has Lighthouse in it (`make lighthouse`). Exit status 1 if a page has less than 95 for
accessibility, best practices or SEO. What it says of speed depends on what else this
machine does: it is printed, the median of some runs, and decides nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from spec.publish.serve import HOST, Handler, Server

LEAST = 95
PAGES = (  # one of each kind
    *("", "spec/fork/", "notebooks/what-if/", "r/AE-FORK-2/", "explorer/"),
    *("reference/rules/", "reference/ablation/", "reference/proof/"),
    *("reference/litmus/", "litmus/vmsplice-leak/", "reference/conformance/"),
    *("reference/performance/", "reference/notices/", "kernels/", "how-to-cite/"),
    *("?q=fork", "404.html"),
)
PRESETS: dict[str, list[str]] = {"phone": [], "desk": ["--preset=desktop"]}
DECIDE = ("accessibility", "best-practices", "seo")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu "
    f"--host-resolver-rules='MAP * ~NOTFOUND , EXCLUDE {HOST}'"
)


def audit(tool: Path, address: str, preset: str) -> dict[str, int]:
    """What Lighthouse gives a page, out of 100, by category."""
    options = [*PRESETS[preset], "--quiet", "--output=json", f"--chrome-flags={FLAGS}"]
    done = subprocess.run(
        ["node", str(tool), address, *options],
        env=os.environ | {"CHROME_PATH": shutil.which("chromium") or ""},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"Lighthouse could not audit {address}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)["categories"]
    return {name: round(100 * (kind["score"] or 0)) for name, kind in found.items()}


def main(site: str, tools: str, runs: str = "1") -> int:
    """Print what each page is given; 1 if any is given too little.

    Args:
        site: the built site.
        tools: where npm has put Lighthouse.
        runs: how often each page is loaded for the median of its performance.
    """
    tool = Path(tools, "node_modules", "lighthouse", "cli", "index.js")
    bad = 0
    handler = partial(Handler, directory=site)
    with Server((HOST, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for page in PAGES:
            for preset in PRESETS:
                address = f"http://{HOST}:{server.server_address[1]}/{page}"
                found = [audit(tool, address, preset) for _ in range(int(runs))]
                speed = median(each["performance"] for each in found)
                given = {name: found[0][name] for name in DECIDE}
                low = any(points < LEAST for points in given.values())
                bad += low
                told = ", ".join(f"{name} {points}" for name, points in given.items())
                said = f"/{page} {preset}: {told}, performance {speed:.0f}"
                print(f"{said}{'  TOO LOW' if low else ''}", flush=True)
        server.shutdown()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
