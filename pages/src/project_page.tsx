/** One project over time: its runs, how long they take, what is flaky, what gets slower, how fresh its sources were. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";

import { ago, count, duration, time, until } from "./format";
import { docsOf, docsOfRun, flaky, folderOf, hasExpired, type List, load, nextRun, type NodeEntry, type Overview, reportOf, type Run, runOfDocs, slower, stateOf, trend, trendWords } from "./history_data";
import { color, Fact, Past, Section, State, T, ThemeSwitch, useThemeChanges } from "./parts";
import { Strip } from "./portal_page";
import { type Column, Table } from "./table";

const STRIP_RUNS = 90;
const MOST_LISTED = 200;

export function Project({ name }: { name: string }) {
  const [list, setList] = useState<List | null>(null);
  const [overview, setOverview] = useState<Overview | null | undefined>();
  const [runs, setRuns] = useState<Run[] | null>(null);
  const [nodes, setNodes] = useState<NodeEntry[] | null>(null);
  const now = Date.now();
  useEffect(() => {
    document.title = `dbt project ${name}`;
    const folder = `${folderOf(name)}history/`;
    void load<List>("projects.json").then(setList);
    void load<Overview>(`${folder}overview.json`).then(setOverview);
    void load<{ format_version: number; runs: Run[] }>(`${folder}runs.json`).then((file) => setRuns(file?.runs ?? []));
    void load<{ format_version: number; nodes: NodeEntry[] }>(`${folder}nodes.json`).then((file) => setNodes(file?.nodes ?? []));
  }, []);
  const listed = list?.projects.find((project) => project.name === name);
  const state = stateOf(overview ?? null, listed ?? { name, schedule: null, time_zone: "UTC", deadline_seconds: 7200 }, now);
  const next = listed && nextRun(listed, now);
  const docs = docsOf(name, overview?.docs_prefix);
  const documented = runOfDocs(runs ?? [], overview?.docs_prefix);
  const last = overview?.last;
  const good = runs?.filter((run) => run.outcome === "success").length ?? 0;
  return (
    <>
      <header>
        <p class="crumbs"><a href="index.html">All projects</a> / <T>{name}</T></p>
        <ThemeSwitch />
      </header>
      <main>
        {overview === undefined ? (
          <p class="empty" role="status">Loading …</p>
        ) : (
          <>
            <div class={`headline ${state}`}>
              <p><State of={state} /></p>
              <h1 dir="auto">{last?.headline ?? `${name} has not run yet`}</h1>
              {last?.ended_at && <p class="dim"><a href={reportOf(name, last)}>report of the last run</a>, ended {ago(last.ended_at, now)}</p>}
            </div>
            <dl class="figures">
              <Fact name="next run"><b>{next ? until(next, now) : "by hand"}</b> {next && <span class="dim">{time(next.toISOString())}</span>}</Fact>
              {runs && runs.length > 0 && <Fact name="ended well"><b>{Math.round((good / runs.length) * 100)} %</b> <span class="dim">of {count(runs.length, "run")}</span></Fact>}
              {last?.seconds != null && <Fact name="took"><b>{duration(last.seconds)}</b> <span class="dim">{trendWords(trend(runs ?? []))}</span></Fact>}
              {docs && <Fact name="dbt docs">{documented && hasExpired(documented, list, now) ? <span class="dim">expired</span> : <a href={docs}>the last good ones</a>}</Fact>}
            </dl>
          </>
        )}
        {runs && runs.length > 0 && (
          <>
            <Section id="strip" title="Runs" note={runs.length > STRIP_RUNS ? `the last ${STRIP_RUNS}` : undefined}>
              <Strip large project={name} runs={runs.slice(-STRIP_RUNS)} />
            </Section>
            <Section id="trend" title="How long they take" note={`${count(runs.length, "run")}, in the table below too`}>
              <Trend runs={runs} />
            </Section>
          </>
        )}
        {nodes && nodes.length > 0 && <OfNodes nodes={nodes} />}
        {runs && runs.length > 0 && <Runs name={name} runs={runs} list={list} now={now} />}
        {runs?.length === 0 && <p class="empty">There is nothing to show before the first run has ended.</p>}
      </main>
    </>
  );
}

const HALF_A_DAY = 43_200;

function Trend({ runs }: { runs: Run[] }) {
  const box = useRef<HTMLDivElement>(null);
  const theme = useThemeChanges();
  const known = useMemo(() => runs.filter((run) => run.seconds !== null && !Number.isNaN(Date.parse(run.started_at))), [runs]);
  useEffect(() => {
    const element = box.current!;
    const [good, bad, line, dim] = [color("good"), color("bad"), color("line"), color("dim")];
    const times = known.map((run) => Date.parse(run.started_at) / 1000);
    const of = (keep: (run: Run) => boolean) => known.map((run) => (keep(run) ? run.seconds : null));
    const axis = { stroke: dim, grid: { stroke: line, width: 1 }, ticks: { stroke: line } };
    const chart = new uPlot(
      {
        width: element.clientWidth,
        height: 220,
        axes: [axis, { ...axis, values: (_: unknown, values: number[]) => values.map((value) => (value < 120 ? `${value} s` : `${+(value / 60).toFixed(1)} min`)), size: 80 }],
        scales: {
          // A single run has its day around it; uPlot would show it at the left of years.
          x: { range: (_: unknown, least: number, most: number) => (times.length === 1 ? [least - HALF_A_DAY, least + HALF_A_DAY] : [least, most]) },
          y: { range: (_: unknown, __: number, most: number) => [0, most * 1.1 || 1] },
        },
        series: [
          { value: "{YYYY}-{MM}-{DD} {HH}:{mm}" },
          { label: "ended well", stroke: good, width: 1.5, spanGaps: true, points: { show: known.length < 80 }, value: (_: unknown, value: number) => duration(value) },
          { label: "did not", stroke: bad, width: 0, points: { show: true, size: 6, fill: bad }, value: (_: unknown, value: number) => duration(value) },
        ],
        cursor: { drag: { x: true, y: false } },
      },
      [times, of((run) => run.outcome === "success"), of((run) => run.outcome !== "success")] as uPlot.AlignedData,
      element,
    );
    const watch = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: 220 }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      chart.destroy();
    };
  }, [known, theme]);
  return <div class="chart" ref={box} role="img" aria-label={`Durations of ${known.length} runs over time; the table of runs below has them as numbers`} />;
}

function OfNodes({ nodes }: { nodes: NodeEntry[] }) {
  const unsteady = useMemo(() => flaky(nodes), [nodes]);
  const slow = useMemo(() => slower(nodes), [nodes]);
  const sources = useMemo(() => nodes.filter((entry) => entry[1] === "source").sort((a, b) => unfresh(b) - unfresh(a)), [nodes]);
  return (
    <>
      <Section id="flaky" title="Flaky tests" note="in turn good and bad in the last 30 runs">
        {unsteady.length ? (
          <Table
            label="Flaky tests"
            rows={unsteady.slice(0, MOST_LISTED)}
            keyOf={(row) => row.entry[0]}
            columns={[
              { name: "test", title: "test", by: (row) => row.entry[2], show: (row) => <T>{row.entry[2]}</T>, wide: true },
              { name: "changes", title: "changes", by: (row) => row.changes, show: (row) => row.changes, number: true },
              { name: "past", title: "last runs", show: (row) => <Past statuses={row.entry[3].replaceAll("-", "")} /> },
            ]}
          />
        ) : (
          <p class="empty">No test changed its mind twice.</p>
        )}
      </Section>
      <Section id="slower" title="Models that get slower" note="the last five runs against those before">
        {slow.length ? (
          <Table
            label="Models that get slower"
            rows={slow.slice(0, MOST_LISTED)}
            keyOf={(row) => row.entry[0]}
            columns={[
              { name: "model", title: "model", by: (row) => row.entry[2], show: (row) => <T>{row.entry[2]}</T>, wide: true },
              { name: "now", title: "now", by: (row) => row.now, show: (row) => duration(row.now), number: true },
              { name: "before", title: "before", by: (row) => row.before, show: (row) => duration(row.before), number: true },
              { name: "factor", title: "change", by: (row) => row.now / row.before, show: (row) => `${(row.now / row.before).toFixed(1)} × longer`, number: true },
            ]}
          />
        ) : (
          <p class="empty">No model takes much longer than it used to.</p>
        )}
      </Section>
      {sources.length > 0 && (
        <Section id="freshness" title="Freshness over time">
          <Table
            label="Freshness over time"
            rows={sources}
            keyOf={(entry) => entry[0]}
            columns={[
              { name: "source", title: "source", by: (entry) => entry[2], show: (entry) => <T>{entry[2]}</T>, wide: true },
              { name: "stale", title: "not fresh", by: unfresh, show: (entry) => count(unfresh(entry), "time"), number: true },
              { name: "past", title: "last runs", show: (entry) => <Past statuses={entry[3].replaceAll("-", "")} /> },
            ]}
          />
        </Section>
      )}
    </>
  );
}

function unfresh(entry: NodeEntry): number {
  return [...entry[3]].filter((letter) => "wfe".includes(letter)).length;
}

function Runs({ name, runs, list, now }: { name: string; runs: Run[]; list: List | null; now: number }) {
  const newest = useMemo(() => [...runs].reverse(), [runs]);
  const columns: Column<Run>[] = useMemo(
    () => [
      { name: "started", title: "started", by: (run) => run.started_at, show: (run) => <a href={reportOf(name, run)}>{time(run.started_at)}</a> },
      { name: "outcome", title: "outcome", by: (run) => run.outcome, show: (run) => <State of={run.outcome} /> },
      { name: "took", title: "took", by: (run) => run.seconds ?? -1, show: (run) => duration(run.seconds), number: true },
      { name: "attempt", title: "attempt", by: (run) => run.attempt, show: (run) => run.attempt, number: true },
      { name: "docs", title: "dbt docs", show: (run) => <Docs name={name} run={run} hasExpired={hasExpired(run, list, now)} /> },
      { name: "failed", title: "failed", show: (run) => <T>{run.failed.join(", ")}</T> },
      { name: "headline", title: "said", show: (run) => <T>{run.headline}</T>, wide: true },
    ],
    [name, list],
  );
  return (
    <Section id="runs" title="All runs" note={count(runs.length, "run")}>
      <Table label="All runs" rows={newest} columns={columns} keyOf={(run) => `${run.run_id}/${run.attempt}`} />
    </Section>
  );
}

function Docs({ name, run, hasExpired }: { name: string; run: Run; hasExpired: boolean }) {
  if (!run.docs) return <span class="dim">none</span>;
  if (hasExpired) return <span class="dim">expired</span>;
  return <a href={docsOfRun(name, run)} aria-label={`dbt docs of the run of ${time(run.started_at)}`}>docs</a>;
}
