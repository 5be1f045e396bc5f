"""Read litmus tests; say precisely what is wrong with a bad one.

The grammar is in ``grammar.lark``. Here stands what it cannot say: which processes
are alive, which references are held, which names have a value.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from lark import Lark, Token
from lark.exceptions import UnexpectedInput, UnexpectedToken

from spec.decisions import Foll
from spec.litmus.program import (
    DEFAULT_ADDRESS,
    VERDICTS,
    And,
    Comment,
    Comparison,
    Condition,
    Copies,
    Expectation,
    Fact,
    Formula,
    Line,
    Not,
    Number,
    Operation,
    Or,
    Place,
    Same,
    Term,
    Test,
    ValueOf,
    Void,
)
from spec.rules import ALL_MODELS

Node = Any
"""A tree of lark: `data` is the rule, `children` are trees and tokens."""

STATEMENT_WORDS = ("forbid", "require", "expect", "litmus", "ksm", "swapoff")
BEGINNING = "a test begins with 'litmus NAME'"
KINDS = ("process", "reference")
ADVICE = ("free", "dontneed", "pageout", "hugepage", "unmergeable")
HUGE_WORDS = ("madvise hugepage", "split", "split-pmd", "collapse")
HUGE_ADDRESSES = (DEFAULT_ADDRESS, "y")
"""Words about folios of several pages, and the addresses that these have."""
WORDS = {
    "process": (
        *("write", "force-write", "read", "fork", "exit", "munmap", "mprotect", "gup"),
        *("swapout", "reclaim", "migrate", "softdirty", "uffd-wp", "uffd-unwp"),
        *("numa-hint", "mremap", "uffdio-move", "split", "split-pmd", "collapse"),
        *(f"madvise {advice}" for advice in ADVICE),
    ),
    "reference": ("read", "write", "put"),
}
DESCRIPTIONS = {
    "_RACE": "'||'",
    "_IS": "'='",
    "_COLON": "':'",
    "_COMMA": "','",
    "_OPEN": "'('",
    "_CLOSE": "')'",
    "COMPARISON": "a comparison such as '=='",
    "NAME": "a name",
    "TITLE": "a name",
    "INT": "a number of at most nine digits",
    "_NL": "the end of the line",
    "$END": "the end of the line",
}


class LitmusError(Exception):
    """A litmus test that cannot be read, or that says what makes no sense.

    Args:
        file: the name of the file.
        line: the line, from 1.
        column: the column, from 1.
        sentence: what is wrong and what would be right.
    """

    def __init__(self, file: str, line: int, column: int, sentence: str) -> None:
        super().__init__(f"{file}:{line}:{column}: {sentence}")
        self.file = file
        self.line = line
        self.column = column
        self.sentence = sentence


class _Wrong(Exception):
    """What is wrong at a token; `parse` adds the file."""

    def __init__(self, at: Token, sentence: str) -> None:
        super().__init__(sentence)
        self.at = at
        self.sentence = sentence


def parse(text: str, file: str = "litmus") -> Test:
    """The test that `text` describes.

    Args:
        text: the whole file.
        file: its name, for messages.

    Raises:
        LitmusError: the text is no litmus test; says where and why.

    >>> parse("litmus t\\nA: write 1\\nx = A: read\\nrequire x == 1").values
    ('x',)
    >>> parse("litmus t\\nA: wirte 1", "t.litmus")
    Traceback (most recent call last):
    spec.litmus.parser.LitmusError: t.litmus:2:4: 'wirte' is not valid here; \
the nearest valid word is 'write'
    """
    try:
        return _Reader(file, text).test(_grammar().parse(text))
    except _Wrong as wrong:
        line, column = wrong.at.line or 1, wrong.at.column or 1
        raise LitmusError(file, line, column, wrong.sentence) from None
    except UnexpectedInput as error:
        raise LitmusError(file, *_syntax_error(error, text)) from None
    except RecursionError:
        raise LitmusError(file, 1, 1, "a condition is nested too deeply") from None


def read(path: Path) -> Test:
    """The test in the file `path`.

    Raises:
        LitmusError: the file cannot be read, or is no litmus test.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise LitmusError(str(path), 1, 1, "the file is not text in UTF-8") from None
    except OSError as error:
        sentence = f"the file cannot be read: {error.strerror}"
        raise LitmusError(str(path), 1, 1, sentence) from None
    return parse(text, str(path))


@cache
def _grammar() -> Lark:
    grammar = files("spec.litmus").joinpath("grammar.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", propagate_positions=True)


# -- what the grammar refuses -----------------------------------------------------


def _syntax_error(error: UnexpectedInput, text: str) -> tuple[int, int, str]:
    """Line, column and sentence for what the grammar did not accept."""
    if not isinstance(error, UnexpectedToken):
        word = _word_at(text, error.line, error.column)
        allowed: Iterable[str] = getattr(error, "allowed", None) or ()
        return error.line, error.column, _not_valid(word, allowed)
    token, accepts = error.token, error.accepts or error.expected
    if token.type == "$END" and "_LITMUS" in accepts:
        return 1, 1, BEGINNING
    ended = token.type in ("$END", "_NL")
    line, column = (
        _end_of_statement(token, text)
        if ended
        else (token.line or 1, token.column or 1)
    )
    if "_LITMUS" in accepts and not ended:
        return line, column, BEGINNING
    row = text.split("\n")[line - 1]
    first = (row.split() or [""])[0]
    if accepts == {"_COLON", "_IS"} and _alike(first, STATEMENT_WORDS):
        sentence = f"{first!r} begins no statement{_nearest(first, STATEMENT_WORDS)}"
        return line, row.index(first) + 1, sentence
    if ended:
        return line, column, f"the line ends where {_listed(accepts)} is expected"
    return line, column, _not_valid(token.value, accepts)


def _end_of_statement(token: Token, text: str) -> tuple[int, int]:
    """Where the statement ends that `token`, an end of line, cuts short."""
    before = text if token.type == "$END" else text[: token.start_pos]
    rows = [row.partition("#")[0].rstrip() for row in before.split("\n")] or [""]
    return len(rows), len(rows[-1]) + 1


def _word_at(text: str, line: int, column: int) -> str:
    rest = text.split("\n")[line - 1][column - 1 :]
    return rest.split()[0] if rest.split() else rest[:1]


def _keywords(terminals: Iterable[str]) -> list[str]:
    return sorted(
        terminal.lower().lstrip("_").replace("_", "-")
        for terminal in terminals
        if terminal not in DESCRIPTIONS
    )


def _listed(terminals: Iterable[str]) -> str:
    others = {DESCRIPTIONS[t] for t in terminals if t in DESCRIPTIONS}
    words = [f"'{word}'" for word in _keywords(terminals)] + sorted(others)
    return " or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def _not_valid(word: str, terminals: Iterable[str]) -> str:
    keywords = _keywords(terminals)
    word = word[:40]
    if _alike(word, keywords):
        return f"{word!r} is not valid here{_nearest(word, keywords)}"
    return f"{word!r} is not valid here: {_listed(terminals)} is expected"


def _alike(word: str, choices: Iterable[str]) -> bool:
    return bool(difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5))


def _nearest(word: str, choices: Iterable[str]) -> str:
    """The end of a sentence that offers the choice most like `word`."""

    def likeness(choice: str) -> tuple[float, bool]:
        ratio = difflib.SequenceMatcher(None, word, choice).ratio()
        return ratio, word[:1] == choice[:1]

    near = max(choices, key=likeness, default=None)
    return "" if near is None else f"; the nearest valid word is {near!r}"


# -- what the grammar cannot say --------------------------------------------------


@dataclass
class _Reader:
    """Walks the syntax tree in the order of the file and keeps track of names.

    Attributes:
        alive: processes, and whether they are.
        taken: references, with the operation that took them.
        put: references that were put, and the line.
        values: named reads.
        declared: every name of these kinds: what it names and the line.
    """

    file: str
    text: str
    alive: dict[str, bool] = field(default_factory=dict)
    taken: dict[str, Operation] = field(default_factory=dict)
    put: dict[str, int] = field(default_factory=dict)
    values: list[str] = field(default_factory=list)
    declared: dict[str, tuple[str, int]] = field(default_factory=dict)
    addresses: dict[str, None] = field(default_factory=dict)

    def test(self, tree: Node) -> Test:
        header, *statements = tree.children
        title = header.children[0]
        lines = tuple(self._line(s) for s in statements if s.data == "line")
        if not lines:
            raise _Wrong(title, "the test has no operation, such as 'A: write 1'")
        conditions = [s for s in statements if s.data == "condition"]
        expectations = [s for s in statements if s.data == "expectation"]
        return Test(
            name=str(title),
            lines=lines,
            conditions=tuple(self._condition(each) for each in conditions),
            expectations=self._expectations(expectations),
            comments=tuple(self._comments()),
            processes=tuple(self.alive),
            references=tuple(self.taken),
            values=tuple(self.values),
            addresses=tuple(self.addresses),
            file=self.file,
            header_line=_line_of(title),
        )

    def _comments(self) -> Iterator[Comment]:
        for number, row in enumerate(self.text.split("\n"), 1):
            before, sign, comment = row.partition("#")
            if sign:
                yield Comment(comment.strip(), bool(before.strip()), line=number)

    def _declare(self, name: Token, kind: str) -> None:
        if name in self.declared:
            what, line = self.declared[name]
            raise _Wrong(name, f"{name} is the name of the {what} of line {line}")
        self.declared[str(name)] = (kind, _line_of(name))

    # -- operations -------------------------------------------------------------------

    def _line(self, tree: Node) -> Line:
        if not self.alive:
            self._begin(tree.children[0])
        actors = [actor for deed in tree.children for actor in _actors(deed)]
        for deed in tree.children:
            for actor in _actors(deed):
                self._check_actor(actor, _word(deed), actors)
        operations = tuple(self._operation(each) for each in tree.children)
        for operation in operations:
            self._take_effect(operation)
        return Line(operations, line=operations[0].line)

    def _begin(self, tree: Node) -> None:
        """The first process is the one that acts first."""
        if tree.data != "operation":
            word = tree.children[0]
            raise _Wrong(word, "a process comes first, with what it does: 'A: write 1'")
        first = tree.children[1]
        self._declare(first, "process")
        self.alive[str(first)] = True

    def _take_effect(self, operation: Operation) -> None:
        """Who is alive and what is held after the line."""
        if operation.child:
            self.alive[operation.child] = True
        if operation.word == "exit":
            self.alive[operation.actor] = False
        if operation.reference:
            self.taken[operation.reference] = operation
        if operation.word == "put":
            self.put[operation.actor] = operation.line

    def _check_actor(self, actor: Token, word: str, actors: list[Token]) -> None:
        """The actor exists, is alive or held, and may do this beside the others."""
        if actor in self.put:
            raise _Wrong(actor, f"reference {actor} was put in line {self.put[actor]}")
        if actor in self.alive and not self.alive[actor]:
            raise _Wrong(actor, f"process {actor} has exited")
        if actor not in self.alive and actor not in self.taken:
            live = [name for name, alive in self.alive.items() if alive]
            held = [name for name in self.taken if name not in self.put]
            raise _Wrong(
                actor,
                f"no process or reference is called {str(actor)!r} here"
                + _nearest(actor, [*live, *held]),
            )
        kind, other = ("reference", "process") if actor in self.taken else KINDS
        if word == "ksm" and kind == "process":
            return
        if word not in WORDS[kind]:
            raise _Wrong(
                actor,
                f"{word!r} is an operation of a {other}, and {actor} is a {kind}"
                + _nearest(word, WORDS[kind]),
            )
        if word in ("exit", "put") and actors.count(actor) > 1:
            raise _Wrong(
                actor, f"{actor} cannot race with its own {word!r}: give it a line"
            )

    def _operation(self, tree: Node) -> Operation:
        if tree.data != "operation":
            return self._without_colon(tree)
        result, actor, action = tree.children
        word = _word(tree)
        if result is not None:
            if word != "read":
                raise _Wrong(result, f"only 'read' gives a value, {word!r} does not")
            self._declare(result, "value")
            self.values.append(str(result))
        made = Operation(
            str(actor),
            word,
            by_reference=actor in self.taken,
            address=self._address(actor, word, action),
            result=None if result is None else str(result),
            line=tree.meta.line,
            column=tree.meta.column,
        )
        return self._with_arguments(made, action)

    def _without_colon(self, tree: Node) -> Operation:
        """What the kernel does to several processes: ``ksm A B``, ``swapoff``."""
        word, *actors = tree.children
        line, column = tree.meta.line, tree.meta.column
        if not actors:
            return Operation("", str(word), line=line, column=column)
        actor, other, at = actors
        if actor == other:
            raise _Wrong(other, f"{word} merges the pages of two processes")
        return Operation(
            str(actor),
            str(word),
            other=str(other),
            address=self._touch(None if at is None else at.children[0]),
            line=line,
            column=column,
        )

    def _address(self, actor: Token, word: str, action: Node) -> str | None:
        at = next((name.children[0] for name in action.find_data("at")), None)
        if actor in self.taken:
            if at is not None:
                raise _Wrong(
                    at,
                    f"{actor} is a reference: it leads to a page, 'at' "
                    "is for processes",
                )
            return self.taken[actor].address
        if word in ("fork", "exit"):
            return None
        if word in HUGE_WORDS:
            self.addresses |= dict.fromkeys(HUGE_ADDRESSES)
        return self._touch(at)

    def _touch(self, at: Token | None) -> str:
        """The address that `at` names; from now on each process has it."""
        address = DEFAULT_ADDRESS if at is None else str(at)
        self.addresses[address] = None
        return address

    def _with_arguments(self, made: Operation, action: Node) -> Operation:
        first: Node = action.children[0] if action.children else None
        match made.word:
            case "write" | "force-write":
                took = self.taken.get(made.actor)
                if took and took.foll and not took.foll.write:
                    raise _Wrong(
                        first,
                        f"{made.actor} may not write: it was taken 'ro' in "
                        f"line {took.line}",
                    )
                return replace(made, value=int(first))
            case "fork":
                self._declare(first, "process")
                self.alive[str(first)] = False
                return replace(made, child=str(first))
            case "mprotect":
                return replace(made, protection=str(first))
            case "mremap" | "uffdio-move":
                return replace(made, target=self._target(made, action.children[2]))
            case "gup":
                return self._gup(made, action)
        return made

    def _target(self, made: Operation, to: Token) -> str:
        if to == made.address:
            raise _Wrong(to, f"the page is at {str(to)!r}: name another address")
        return self._touch(to)

    def _gup(self, made: Operation, action: Node) -> Operation:
        reference, access, kind, how, _ = action.children
        self._declare(reference, "reference")
        options = [str(option) for option in how.children]
        for number, option in enumerate(how.children):
            if option in options[:number]:
                raise _Wrong(option, f"{str(option)!r} is said twice")
        if {"fast", "fast-only"} <= set(options):
            raise _Wrong(how.children[-1], "choose one of 'fast' and 'fast-only'")
        if "longterm" in options and kind == "get":
            raise _Wrong(kind, "FOLL_LONGTERM goes with FOLL_PIN: write 'pin'")
        entry = [option for option in options if option != "longterm"]
        return replace(
            made,
            reference=str(reference),
            foll=Foll(
                write=access == "rw", pin=kind == "pin", longterm="longterm" in options
            ),
            entry=entry[0] if entry else "slow",
        )

    # -- conditions and expectations ---------------------------------------------------

    def _condition(self, tree: Node) -> Condition:
        word, formula = tree.children
        return Condition(
            str(word),
            self._formula(formula),
            line=tree.meta.line,
            column=tree.meta.column,
        )

    def _formula(self, tree: Node) -> Formula:
        parts = tree.children
        match str(tree.data):
            case "any":
                return Or(tuple(self._formula(part) for part in parts))
            case "all":
                return And(tuple(self._formula(part) for part in parts))
            case "negation":
                return Not(self._formula(parts[0]))
            case "comparison":
                return Comparison(
                    self._term(parts[0]), str(parts[1]), self._term(parts[2])
                )
            case "same":
                return self._same(parts[0], parts[1])
            case "fact":
                return self._fact(parts[0], parts[1])
            case _:
                self._check_name(parts[0], self.taken, "reference")
                return Void(str(parts[0]))

    def _term(self, token: Token) -> Term:
        if token.type == "INT":
            return Number(int(token))
        if token.type == "COPIES":
            return Copies()
        if token in self.alive:
            raise _Wrong(
                token,
                f"{token} is a process: name what it reads, 'v = {token}: read', and "
                "compare that",
            )
        self._check_name(token, [*self.values, *self.taken], "value or reference")
        return ValueOf(str(token), token in self.taken)

    def _fact(self, word: Token, tree: Node) -> Fact:
        place = self._place(tree, DEFAULT_ADDRESS)
        if place.is_reference and word != "exclusive":
            raise _Wrong(
                tree.children[0],
                f"{place.name} is a reference: {str(word)!r} is about an address",
            )
        return Fact(str(word), place)

    def _same(self, left: Node, right: Node) -> Same:
        """A process is looked at where the reference beside it was taken."""
        took = [self.taken.get(place.children[0]) for place in (left, right)]
        address = next((t.address for t in took if t and t.address), DEFAULT_ADDRESS)
        return Same(self._place(left, address), self._place(right, address))

    def _place(self, tree: Node, default: str) -> Place:
        name, at = tree.children
        names = [*self.alive, *self.taken]
        self._check_name(name, names, "process or reference")
        if name in self.taken:
            if at is not None:
                raise _Wrong(
                    at.children[0],
                    f"{name} is a reference: it leads to a page, 'at' is for processes",
                )
            return Place(str(name), str(self.taken[name].address), True)
        address = default if at is None else str(at.children[0])
        if address not in self.addresses:
            raise _Wrong(
                name if at is None else at.children[0],
                f"no operation touches the address {address!r}"
                + _nearest(address, self.addresses),
            )
        return Place(str(name), address, False)

    def _check_name(self, name: Token, names: Collection[str], kind: str) -> None:
        if name not in names:
            raise _Wrong(
                name, f"no {kind} is called {str(name)!r}{_nearest(name, names)}"
            )

    def _expectations(self, trees: Iterable[Node]) -> tuple[Expectation, ...]:
        found: dict[str, Expectation] = {}
        for tree in trees:
            model, verdict = tree.children
            self._check_name(model, ALL_MODELS, "model")
            self._check_name(verdict, VERDICTS, "verdict")
            if model in found:
                line = found[model].line
                raise _Wrong(model, f"line {line} states what to expect of {model}")
            found[str(model)] = Expectation(
                str(model),
                str(verdict),
                line=tree.meta.line,
                column=tree.meta.column,
            )
        return tuple(found.values())


def _actors(deed: Node) -> list[Token]:
    """The process or reference that acts; of ``ksm``, both processes."""
    if deed.data == "operation":
        return [deed.children[1]]
    return list(deed.children[1:3])


def _word(deed: Node) -> str:
    """The word of an operation, as `WORDS` has it."""
    if deed.data != "operation":
        return str(deed.data)
    action = deed.children[2]
    match str(action.data):
        case "plain" | "move":
            return str(action.children[0])
        case "madvise":
            return f"madvise {action.children[0]}"
        case word:
            return word.replace("_", "-")


def _line_of(token: Token) -> int:
    return token.line or 1
