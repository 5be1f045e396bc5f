"""The generated pages on atomic steps and on what the sketch leaves open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spec.ablation import Ablation
from spec.closings import CLOSINGS, COUNTED, WORKLOADS, costs
from spec.cost import shown
from spec.findings import FINDINGS, Finding
from spec.publish import cards
from spec.publish.tables import code, table
from spec.steps import STEPS, Row

if TYPE_CHECKING:
    from spec.publish.pages import Site

FINDINGS_PAGE = "reference/findings.md"
STEPS_PAGE = "reference/steps.md"


def findings_page(site: Site) -> str:
    """Each finding: the sentence, the gap, the rules, the shortest trace, the cost."""
    lines = [
        "# What the sketch leaves open",
        "",
        "The e-mail of 2021-12-19 is a sketch, and says so. Worked out step by step it "
        "has consequences that it does not state. Each is closed here by a rule of the "
        "normative model, and the trace below it is what happens without that rule.",
        "",
        _overview(site),
    ]
    for finding in FINDINGS:
        lines += ["", *_section(site, finding)]
    return "\n".join(lines) + "\n"


def _overview(site: Site) -> str:
    rows = [
        (
            f"[{finding.id}](#{finding.id})",
            finding.title,
            ", ".join(site.link(id, FINDINGS_PAGE) for id in finding.rules) or "none",
            _breaks(site.store.ablated(finding.rules[0])) if finding.rules else "",
        )
        for finding in FINDINGS
    ]
    return table(("", "What is open", "Closed by", "Without it"), rows, "ae-wrap")


def _breaks(ablation: Ablation | None) -> str:
    if ablation is None or ablation.violation is None:
        return ""
    found = ablation.violation
    return f"{found.property}, {found.depth} steps"


def _section(site: Site, finding: Finding) -> list[str]:
    lines = [
        f"## {finding.id}: {finding.title} {{#{finding.id}}}",
        "",
        f"> {finding.sentence}",
        "",
        finding.gap,
    ]
    for id in finding.rules:
        rule = site.find(id, FINDINGS_PAGE)
        lines += ["", f"- **{site.link(id, FINDINGS_PAGE)}** {rule.sentence}"]
    if finding.cost:
        lines += ["", f"**Cost.** {finding.cost}"]
    lines += _closings(finding)
    lines += ["", f"**Upstream.** {finding.upstream}"]
    if finding.litmus:
        tests = ", ".join(f"[{name}](../litmus/{name}.md)" for name in finding.litmus)
        lines += ["", f"**Litmus.** {tests}"]
    shown = site.store.ablated(finding.rules[0]) if finding.rules else None
    if shown is not None and shown.violation is not None:
        lines += ["", f"Without {finding.rules[0]}, on `{shown.model}`:", ""]
        lines.append(cards.trace_pre(shown.violation))
    return lines


def _closings(finding: Finding) -> list[str]:
    """What both ways to close the gap cost, where there are two."""
    rows = [
        (workload.title, code(name), *(shown(counts[each]) for each in COUNTED))
        for workload in WORKLOADS
        if workload.finding == finding.id
        for name, model in CLOSINGS.items()
        for counts in [costs(workload, model)]
    ]
    if not rows:
        return []
    told = (
        "Counted while each workload runs alone: until the address is read and written "
        "again, on `sketch` (refuse) and on its variant "
        "[`carry`](../spec/models.py#variants)."
    )
    return ["", told, "", table(("Workload", "Closed by", *COUNTED.values()), rows)]


def steps_page(site: Site) -> str:
    """Each atomic step of the kernel with its operation and its rules."""
    rows = [row for part in STEPS.values() for row in part]
    modelled = [row for row in rows if row.operation]
    lines = [
        "# Atomic steps",
        "",
        f"{len(rows)} steps that Linux takes with an anonymous page (names as in 6.1 "
        f"where nothing else is said), of which {len(modelled)} are modelled. A step "
        "that is not modelled says why.",
    ]
    for title, part in STEPS.items():
        header = ("Step", "The kernel", "Operation", "Rules", "Note")
        body = [_step(site, row) for row in part]
        lines += ["", f"## {title}", "", table(header, body, "ae-wrap")]
    return "\n".join(lines) + "\n"


def _step(site: Site, row: Row) -> tuple[str, ...]:
    module, _, name = row.operation.partition(".")
    operation = f"[{code(name)}](../spec/{module}.py)" if row.operation else ""
    ids = ", ".join(site.link(id, STEPS_PAGE) for id in row.rules)
    return row.id, row.kernel, operation, ids, row.note
