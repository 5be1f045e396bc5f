"""What is read: a patch, a mail, a mailbox or any text, as pieces with line numbers.

The standard library takes mails apart. What it could not make out is reported in one
sentence each and never guessed at.
"""

from __future__ import annotations

import codecs
import mailbox
import quopri
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from pathlib import Path
from tempfile import TemporaryDirectory

from spec.cells import SpecificationError

LARGEST = 64 * 1024 * 1024
"""Bytes of a file that are read at most; a series is far smaller."""
SHOWN = 300
"""Characters that are shown of what somebody else wrote."""
DEPTH = 50
"""How deep parts may be nested in parts."""

_HEADERS = ("from", "subject", "message-id", "content-type", "date", "mime-version")
_READ_AS_TEXT = (".patch", ".diff", ".txt", ".mbox", ".c", ".h", ".md")
_ENCODINGS = ("quoted-printable", "base64")
_NO_CHARSETS = {"punycode", "idna", "undefined", "unicode_escape", "raw_unicode_escape"}
"""Codecs of Python that no mail means, and of which some take very long."""


@dataclass(frozen=True)
class Line:
    """A line of a text and where it stands.

    Attributes:
        text: without its end.
        number: of the line in the file that was read, from 1.
    """

    text: str
    number: int


@dataclass(frozen=True)
class Piece:
    """One text: a file, or a part of a message.

    Attributes:
        lines: its lines.
        title: the subject of the message; empty for a plain file.
    """

    lines: tuple[Line, ...]
    title: str = ""

    @property
    def text(self) -> str:
        """All lines."""
        return "".join(f"{line.text}\n" for line in self.lines)


@dataclass
class Reading:
    """What a file gave.

    Attributes:
        name: of the file, as it is reported.
        pieces: what can be read.
        notes: what could not, one sentence each, with the line if it is known.
    """

    name: str
    pieces: list[Piece] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, said: str, line: int = 0) -> None:
        """Report something, once."""
        place = f"{self.name}:{line}" if line else self.name
        text = f"{place}: {shown(said)}"
        if text not in self.notes:
            self.notes.append(text)


def shown(text: str) -> str:
    """A text that somebody else wrote, fit for a terminal.

    >>> shown("mm/\x1b[31mgup.c")
    'mm/?[31mgup.c'
    """
    clean = "".join(c if c.isprintable() else "?" for c in text[: SHOWN + 1])
    return clean if len(clean) <= SHOWN else f"{clean[:SHOWN]}..."


def load_file(name: str, content: bytes | None = None) -> Reading:
    """What a file holds.

    Args:
        name: its path.
        content: what it holds, if it is no file; then `name` is only reported.

    Raises:
        SpecificationError: it cannot be read or is too large.
    """
    raw = _content(Path(name)) if content is None else content
    if len(raw) > LARGEST:
        raise SpecificationError(
            f"{name} has more than {LARGEST // 1024**2} MiB; give a patch or a series"
        )
    reading = Reading(name)
    if raw.startswith(b"From "):
        _read_mailbox(reading, raw)
    elif _is_mail(raw):
        _read_message(reading, raw, raw, 0)
    else:
        reading.pieces.append(Piece(tuple(_lines(_decoded(reading, raw, "", 0), 1))))
    return reading


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SpecificationError(
            f"cannot read {str(path)!r} ({error.strerror}); give a file, or - for "
            f"standard input"
        ) from None


def _lines(text: str, first: int) -> Iterator[Line]:
    """The lines of a text; form feeds and the like end none, as in the kernel."""
    parts = text.split("\n")
    if parts and not parts[-1]:
        parts.pop()
    for number, part in enumerate(parts, first):
        yield Line(part.removesuffix("\r"), number)


def _is_mail(raw: bytes) -> bool:
    """Whether a text begins with the headers of a mail."""
    head = raw[:4096].lstrip(b"\r\n").split(b"\n", 1)[0]
    name, colon, _ = head.partition(b":")
    if not colon or b" " in name or not name:
        return False
    message = _parsed(raw.lstrip(b"\r\n"))
    return message is not None and sum(key in message for key in _HEADERS) >= 2


def _parsed(raw: bytes) -> Message | None:
    try:
        return message_from_bytes(raw)
    except (RecursionError, ValueError, LookupError, AttributeError, TypeError):
        return None


# -- mailboxes and messages ------------------------------------------------------------


def _read_mailbox(reading: Reading, raw: bytes) -> None:
    """Each message of a mailbox, or of what `git format-patch` wrote."""
    with TemporaryDirectory() as aside:
        path = Path(aside) / "mbox"
        path.write_bytes(raw)
        box = mailbox.mbox(path, create=False)
        contents = [box.get_bytes(key) for key in box.iterkeys()]
        box.close()
    at = 0
    for content in contents:
        found = raw.find(content, at)
        at = found if found >= 0 else at
        _read_message(reading, content, raw, max(at, 0))
        at += len(content)


def _read_message(reading: Reading, content: bytes, raw: bytes, start: int) -> None:
    """The text parts of a message; others are reported."""
    message = _parsed(content)
    if message is None:
        reading.note("cannot be taken apart as a mail", _line_of(raw, start))
        return
    title = _subject(message)
    at = start
    for part in _parts(reading, message, _line_of(raw, start)):
        encoded = _encoded(part)
        found = raw.find(encoded, at) if encoded else -1
        at = found if found >= 0 else at
        first = _line_of(raw, at)
        if _is_text(part):
            reading.pieces.append(
                Piece(tuple(_lines_of(reading, part, encoded, first)), title)
            )
        else:
            reading.note(
                f"the part {_part_name(part)} is no text; it is not read", first
            )
        at += len(encoded)


def _payload(part: Message, decode: bool = False) -> object:
    """The payload of a part; the library trips over some headers, which are left."""

    def taken() -> object:
        return part.get_payload(decode=True) if decode else part.get_payload()

    try:
        return taken()
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError):
        del part["Content-Type"]
        return taken()


def _encoding(part: Message) -> str:
    return str(part.get("Content-Transfer-Encoding", "")).strip().lower()


def _encoded(part: Message) -> bytes:
    """A part as it stands in the file."""
    body = _payload(part, decode=_encoding(part) not in _ENCODINGS)
    if isinstance(body, str):
        return body.encode("utf-8", "surrogateescape")
    return body if isinstance(body, bytes) else b""


def _line_of(raw: bytes, offset: int) -> int:
    return raw.count(b"\n", 0, offset) + 1


def _parts(reading: Reading, message: Message, line: int) -> Iterator[Message]:
    """The leaves of a message in order; parts nested too deeply are reported."""
    left = [(message, 0)]
    while left:
        part, depth = left.pop()
        inner = _payload(part)
        if not isinstance(inner, list):
            yield part
        elif depth == DEPTH:
            reading.note(f"parts are nested more than {DEPTH} deep", line)
        else:
            whole = [each for each in inner if isinstance(each, Message)]
            left.extend((each, depth + 1) for each in reversed(whole))


def _subject(message: Message) -> str:
    try:
        said = str(make_header(decode_header(message.get("Subject", "") or "")))
    except (ValueError, LookupError, UnicodeError, TypeError, AttributeError):
        return ""
    return shown(" ".join(said.split()))


def _part_name(part: Message) -> str:
    try:
        name = part.get_filename() or ""
        return (
            f"{name!r} ({part.get_content_type()})" if name else part.get_content_type()
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return "without a type that can be read"


def _is_text(part: Message) -> bool:
    try:
        name = (part.get_filename() or "").lower()
        kind = part.get_content_maintype()
    except (ValueError, LookupError, TypeError, AttributeError):
        return False
    # a leaf that says it has parts has lost them: its text is all there is
    return kind in ("text", "multipart") or name.endswith(_READ_AS_TEXT)


def _lines_of(
    reading: Reading, part: Message, encoded: bytes, first: int
) -> Iterator[Line]:
    """The decoded lines of a part, with the line of the file that each comes from."""
    encoding = _encoding(part)
    charset = _charset(part)
    if encoding == "quoted-printable":
        yield from _unquoted(reading, encoded, charset, first)
    elif encoding == "base64":
        content = _payload(part, decode=True)
        if part.defects:
            reading.note("the base64 of a part is broken; it is not read", first)
            return
        text = content if isinstance(content, bytes) else b""
        for line in _lines(_decoded(reading, text, charset, first), 0):
            yield Line(line.text, first)
    else:
        if encoding not in ("", "7bit", "8bit", "binary"):
            reading.note(f"the transfer encoding {encoding!r} is not known", first)
        yield from _lines(_decoded(reading, encoded, charset, first), first)


def _unquoted(
    reading: Reading, encoded: bytes, charset: str, first: int
) -> Iterator[Line]:
    """Lines of quoted-printable: a soft break joins a line to the next."""
    joined, number = b"", first
    for at, line in enumerate(encoded.split(b"\n"), first):
        number = number if joined else at
        stripped = line.rstrip(b" \t\r")
        if stripped.endswith(b"="):
            joined += stripped[:-1]
            continue
        text = quopri.decodestring(joined + stripped)
        yield from _lines(_decoded(reading, text, charset, at) + "\n", number)
        joined = b""
    if joined:
        text = quopri.decodestring(joined)
        yield from _lines(_decoded(reading, text, charset, first), number)


def _charset(part: Message) -> str:
    try:
        return part.get_content_charset() or ""
    except (ValueError, LookupError, TypeError, AttributeError):
        return "?"


def _decoded(reading: Reading, raw: bytes, charset: str, line: int) -> str:
    """The text of bytes; what does not fit the charset is reported and replaced."""
    for mark, name in (
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if not charset and raw.startswith(mark):
            charset = name
    if raw.startswith(codecs.BOM_UTF8):
        charset = charset or "utf-8-sig"
    if not charset and b"\0" in raw:
        reading.note("has zero bytes: it is binary, and read for its ASCII only", line)
    try:
        name = codecs.lookup(charset or "utf-8").name.replace("-", "_")
        if name in _NO_CHARSETS:
            raise LookupError(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return raw.decode(charset or "utf-8")
    except (LookupError, ValueError, TypeError):
        said = f"{charset!r}" if charset else "UTF-8"
        reading.note(f"is not in the charset {said}; only its ASCII is read", line)
        return raw.decode("ascii", "replace")
