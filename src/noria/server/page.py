"""The live page: one file, nothing from elsewhere, nothing that its own hashes do not name."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

from noria.server.problems import HEADERS

__all__ = ["PAGE", "PAGE_HEADERS"]

PAGE = resources.files("noria.server").joinpath("page.html").read_text(encoding="utf-8")


def _hashes(element: str) -> str:
    """What a content security policy calls the inline elements of a kind."""
    parts = re.findall(rf"<{element}>(.*?)</{element}>", PAGE, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()) for part in parts]
    return " ".join(f"'sha256-{digest.decode()}'" for digest in digests)


PAGE_HEADERS = {
    **HEADERS,
    "content-security-policy": (
        f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')};"
        " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
}
