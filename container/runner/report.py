"""The report of one attempt: a page that opens anywhere, made whatever the ending."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from runner.nodes import NodeResult
from runner.outcome import NodeStatus
from runner.pipeline import StepEnding

_ORDER = (
    NodeStatus.ERROR,
    NodeStatus.FAIL,
    NodeStatus.WARN,
    NodeStatus.SKIPPED,
    NodeStatus.NOT_RUN,
    NodeStatus.SUCCESS,
)
_FAILED = frozenset({NodeStatus.ERROR, NodeStatus.FAIL})
_STYLE = """
:root { color-scheme: light dark; --good: #1a7f37; --warn: #9a6700; --bad: #cf222e; --dim: #6e7781; --line: #d0d7de; --soft: #f6f8fa }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --warn: #d29922; --bad: #f85149; --dim: #8b949e; --line: #30363d; --soft: #161b22 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; padding-left: .8rem; border-left: .4rem solid var(--dim) }
h1.success { border-color: var(--good) } h1.failed, h1.error { border-color: var(--bad) } h1.interrupted { border-color: var(--warn) }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
.dim { color: var(--dim) }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
td { overflow-wrap: anywhere } td.short { white-space: nowrap; overflow-wrap: normal }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; overflow-wrap: normal }
.status { font-weight: 600 } .status.success { color: var(--good) } .status.warn { color: var(--warn) }
.status.error, .status.fail, .status.failed { color: var(--bad) } .status.skipped, .status.not_run, .status.interrupted { color: var(--dim) }
section.failure { border: 1px solid var(--line); border-left: .3rem solid var(--bad); border-radius: .3rem; padding: .6rem 1rem; margin: .8rem 0 }
section.failure.warn { border-left-color: var(--warn) } section.failure h3 { margin: 0; font-size: 1rem }
pre { background: var(--soft); padding: .7rem; overflow: auto; max-height: 30rem; border-radius: .3rem; white-space: pre-wrap; overflow-wrap: anywhere }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem } dt { color: var(--dim) } dd { margin: 0; overflow-wrap: anywhere }
"""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the page shows."""

    start: Mapping[str, Any]
    outcome: str
    headline: str
    reason: str | None
    """Why the run did not end well, in full."""
    ended_at: str
    seconds: float
    endings: Sequence[StepEnding]
    results: Sequence[NodeResult]
    counts: Mapping[str, int]
    samples: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    docs_link: str | None = None

    def html(self) -> str:
        """Return the page; every text in it that is not ours is escaped."""
        start = self.start
        title = f"{start['project']} on {start['environment']}: {self.outcome}"
        parts = [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f'<h1 class="{escape(self.outcome)}">{escape(self.headline)}</h1>',
            (
                f'<p class="dim">{escape(start["project"])} on {escape(start["environment"])}, run {escape(start["run_id"])}, '
                f"attempt {start['attempt']}, ended {escape(self.ended_at[:19].replace('T', ' '))} UTC after {_told(self.seconds)}</p>"
            ),
            self._failures(),
            self._steps(),
            self._nodes(),
            self._facts(),
            "</body></html>\n",
        ]
        return "\n".join(part for part in parts if part)

    def _failures(self) -> str:
        told = [result for result in _sorted(self.results) if result.is_told_in_full]
        sections = []
        for result in told:
            kind, failures = (
                escape(_words(result.resource_type)),
                f" ({result.failures} rows)" if result.failures else "",
            )
            sections.append(
                f'<section class="failure {result.status}"><h3><span class="status {result.status}">{_words(result.status)}'
                f"</span> {kind} {escape(result.name)}{failures}</h3><pre>{escape(result.message or 'no message')}</pre>"
                f"{_sql(result)}{_sample(self.samples.get((result.step, result.unique_id)))}</section>"
            )
        if self.reason and not any(result.status in _FAILED for result in told):
            sections.insert(0, f'<section class="failure"><pre>{escape(self.reason)}</pre></section>')
        title = "What went wrong" if self.reason or any(result.status in _FAILED for result in told) else "Warnings"
        return f"<h2>{title}</h2>{''.join(sections)}" if sections else ""

    def _steps(self) -> str:
        rows = "".join(
            f'<tr><td>{escape(ending.step.name)}</td><td><span class="status {ending.outcome}">{ending.outcome}</span></td>'
            f'<td>{_words(ending.step.policy)}</td><td class="number">{_told(ending.seconds)}</td><td>{escape(ending.message or "")}</td></tr>'
            for ending in self.endings
        )
        if not rows:
            return ""
        return f'<h2>Steps</h2><table><tr><th>step<th>outcome<th>policy<th class="number">time<th></tr>{rows}</table>'

    def _nodes(self) -> str:
        if not self.results:
            return ""
        counts = ", ".join(f"{number} {_words(status)}" for status, number in self.counts.items() if number)
        rows = "".join(
            f'<tr><td class="short"><span class="status {result.status}">{_words(result.status)}</span></td>'
            f"<td>{escape(result.name)}</td>"
            f'<td class="short">{escape(_words(result.resource_type))}</td><td class="short">{escape(result.step)}</td>'
            f'<td class="number">{_told(result.seconds)}</td><td class="number">{"" if result.rows is None else result.rows}</td>'
            f'<td class="short">{_where(result)}</td></tr>'
            for result in _sorted(self.results)
        )
        return (
            f'<h2>Nodes</h2><p class="dim">{escape(counts)}</p><table><tr><th>status<th>node<th>type<th>step<th class="number">time'
            f'<th class="number">rows<th>thread</tr>{rows}</table>'
        )

    def _facts(self) -> str:
        start = self.start
        facts: dict[str, str] = {
            "started": start["started_at"],
            "code": start["code"].get("git_commit") or start["code"]["fingerprint"],
            "versions": ", ".join(f"{name} {version}" for name, version in start["versions"].items()),
            "continues": f"attempt {start['resumes']['attempt']}" if start["resumes"] else "",
            "starts over": start.get("starts_over") or "",
            "task": start.get("task_arn") or "",
            "log": " ".join((start.get("log") or {}).values()),
            **{f"launched by, {name}": text for name, text in start["launched_by"].items()},
        }
        rows = "".join(f"<dt>{escape(name)}</dt><dd>{_linked(text)}</dd>" for name, text in facts.items() if text)
        docs = f'<dt>docs</dt><dd><a href="{escape(self.docs_link)}">of this run</a></dd>' if self.docs_link else ""
        return f"<h2>This run</h2><dl>{rows}{docs}</dl>"


def _sql(result: NodeResult) -> str:
    if not result.compiled_code:
        return ""
    return (
        f"<details><summary>the SQL that was sent</summary><pre>{escape(result.compiled_code.strip())}</pre></details>"
    )


def _sample(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    header = "".join(f"<th>{escape(str(name))}" for name in found["columns"])
    rows = "".join(
        "<tr>" + "".join(f"<td>{'' if value is None else escape(value)}" for value in row) for row in found["rows"]
    )
    return f"<details><summary>some of the rows</summary><table><tr>{header}{rows}</table></details>"


def _sorted(results: Sequence[NodeResult]) -> list[NodeResult]:
    return sorted(results, key=lambda result: (_ORDER.index(result.status), -result.seconds, result.unique_id))


def _linked(text: str) -> str:
    shown = escape(text)
    return f'<a href="{shown}">{shown}</a>' if text.startswith(("https://", "http://")) else shown


def _words(status: str) -> str:
    return str(status).replace("_", " ")


def _where(result: NodeResult) -> str:
    if result.from_attempt:
        return f"in attempt {result.from_attempt}"
    # dbt's threads are called "Thread-4 (worker)"; the word behind the number says nothing.
    return escape((result.thread or "").partition(" (")[0])


def _told(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
