"""The content security policy of the pages: nothing from elsewhere, nothing inline.

The theme has a few inline scripts; each page allows its own by their hashes. A policy
in the page works from any server, and from local files.
"""

from __future__ import annotations

import base64
import hashlib
import re

HEAD = '<meta charset="utf-8">'
_INLINE = re.compile(r"<script(?![^>]*\b(?:src|type)=)[^>]*>(.*?)</script>", re.S)
_STYLED = re.compile(r"<style\b|<[a-z][^>]*\sstyle=", re.I)
_HANDLER = re.compile(r"<[a-z][^>]*\son[a-z]+=", re.I)
_CODE = re.compile(r"<(pre|script)\b.*?</\1>", re.S)


def digest(script: str) -> str:
    """The hash of an inline script, as a policy names it.

    >>> digest("alert(1)")
    "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"
    """
    found = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(found).decode()}'"


def policy(page: str) -> str:
    """What the page may load and run.

    WebAssembly and workers are for the code that readers run in the page.
    """
    inline = dict.fromkeys(digest(script) for script in _INLINE.findall(page))
    rules = {
        "default-src": ["'none'"],
        "script-src": ["'self'", "'wasm-unsafe-eval'", *inline],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "worker-src": ["'self'", "blob:"],
        "frame-src": ["'self'"],
        "manifest-src": ["'self'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
    }
    return "; ".join(f"{name} {' '.join(values)}" for name, values in rules.items())


class Inline(Exception):
    """A page has styles or handlers in its HTML, which its policy would forbid."""


def with_policy(page: str) -> str:
    """The page with its policy, before anything that it governs.

    Raises:
        Inline: the page has an inline style or handler.
        ValueError: the page does not begin as the theme's pages do.
    """
    markup = _CODE.sub("", page)
    for kind in (_STYLED, _HANDLER):
        if found := kind.search(markup):
            raise Inline(f"what the policy forbids: {found[0][:80]}")
    if HEAD not in page:
        raise ValueError("the theme's pages begin otherwise; look at HEAD")
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy(page)}">'
    return page.replace(HEAD, f"{HEAD}{meta}", 1)
