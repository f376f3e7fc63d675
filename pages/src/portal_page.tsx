/** All projects of an environment: what is going on now, what comes next, and where a model is. */

import { useEffect, useMemo, useState } from "preact/hooks";

import { ago, count, duration, until, words } from "./format";
import { docsOf, type List, type Listed, load, type ModelEntry, nextRun, type Overview, reportOf, type ShortRun, stateOf, trend, trendWords } from "./history_data";
import { Section, State, T, ThemeSwitch } from "./parts";
import { type Column, Table } from "./table";

const MOST_RESULTS = 50;
const RUNS_SHOWN = 20;
const STATES = ["failed", "error", "killed", "interrupted", "running", "unknown", "no run yet", "success"];

interface Row {
  listed: Listed;
  overview: Overview | null;
  state: string;
  next: Date | null;
  trend: number | null;
}

export function Portal() {
  const [list, setList] = useState<List | null | undefined>();
  const [rows, setRows] = useState<Row[] | null>(null);
  const now = Date.now();
  useEffect(() => {
    void (async () => {
      const found = await load<List>("projects.json");
      setList(found);
      const overviews = await Promise.all((found?.projects ?? []).map((project) => load<Overview>(`../${encodeURIComponent(project.name)}/history/overview.json`)));
      const made = (found?.projects ?? []).map((listed, at) => {
        const overview = overviews[at] ?? null;
        return { listed, overview, state: stateOf(overview, listed, now), next: nextRun(listed, now), trend: trend(overview?.runs ?? []) };
      });
      setRows(made.sort((a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state) || a.listed.name.localeCompare(b.listed.name)));
      document.title = `dbt projects on ${found?.environment ?? "?"}`;
    })();
  }, []);
  if (list === undefined) return <main><p class="empty" role="status">Loading …</p></main>;
  if (list === null) return <main><h1>No projects</h1><p class="empty">There is no list of projects beside this page: deploy the environment.</p></main>;
  const bad = rows?.filter((row) => ["failed", "error", "killed"].includes(row.state)).length ?? 0;
  const running = rows?.filter((row) => row.state === "running").length ?? 0;
  return (
    <>
      <header>
        <p class="crumbs">dbt projects on <T>{list.environment}</T></p>
        <ThemeSwitch />
      </header>
      <main>
        {rows && (
          <div class={`headline ${bad ? "failed" : "success"}`}>
            <h1>{bad ? `${count(bad, "project")} of ${rows.length} ${bad === 1 ? "needs" : "need"} a look` : `No project of ${rows.length} failed its last run`}</h1>
            <p class="dim">{running ? `${count(running, "run")} going on now` : "nothing is running"}</p>
          </div>
        )}
        <Search projects={list.projects} />
        <Section id="projects" title="Projects">
          {rows ? <Projects rows={rows} now={now} /> : <p class="empty" role="status">Loading …</p>}
        </Section>
      </main>
    </>
  );
}

function Projects({ rows, now }: { rows: Row[]; now: number }) {
  const columns: Column<Row>[] = [
    { name: "project", title: "project", by: (row) => row.listed.name, show: (row) => <a href={`project.html?name=${encodeURIComponent(row.listed.name)}`}><T>{row.listed.name}</T></a> },
    { name: "state", title: "state", by: (row) => STATES.indexOf(row.state), show: (row) => <State of={row.state} /> },
    {
      name: "last",
      title: "last run",
      by: (row) => row.overview?.last?.ended_at ?? "",
      show: (row) => row.overview?.last?.ended_at && <a href={reportOf(row.listed.name, row.overview.last)}>{ago(row.overview.last.ended_at, now)}</a>,
    },
    { name: "took", title: "took", by: (row) => row.overview?.last?.seconds ?? -1, show: (row) => duration(row.overview?.last?.seconds), number: true },
    { name: "trend", title: "trend", by: (row) => row.trend ?? 0, show: (row) => trendWords(row.trend) },
    { name: "strip", title: "last runs", show: (row) => <Strip project={row.listed.name} runs={(row.overview?.runs ?? []).slice(-RUNS_SHOWN)} /> },
    { name: "next", title: "next run", by: (row) => row.next?.getTime() ?? Infinity, show: (row) => (row.next ? <span title={row.next.toISOString()}>{until(row.next, now)}</span> : <span class="dim">by hand</span>) },
    { name: "said", title: "said", show: (row) => <T>{row.state === "success" ? "" : (row.overview?.last?.headline ?? "")}</T>, wide: true },
  ];
  return <Table label="Projects" rows={rows} columns={columns} keyOf={(row) => row.listed.name} />;
}

/** Runs as bars: colour and word for how they ended, height for how long they took. */
export function Strip({ project, runs, large }: { project: string; runs: readonly ShortRun[]; large?: boolean }) {
  const most = Math.max(...runs.map((run) => run.seconds ?? 0), 1);
  const bad = runs.filter((run) => run.outcome !== "success").length;
  const height = (run: ShortRun) => ({ height: `${Math.max(15, ((run.seconds ?? most / 3) / most) * 100)}%` });
  if (!large) {
    return (
      <span class="strip" role="img" aria-label={`${bad} of the last ${runs.length} runs did not end well`}>
        {runs.map((run) => <i class={run.outcome} style={height(run)} />)}
      </span>
    );
  }
  return (
    <div class="strip large" role="group" aria-label="Last runs, oldest first">
      {runs.map((run) => {
        const said = `${run.started_at.slice(0, 16).replace("T", " ")}: ${words(run.outcome)}${run.seconds === null ? "" : `, ${duration(run.seconds)}`}`;
        return <a class={run.outcome} style={height(run)} href={reportOf(project, run)} title={said} aria-label={said} />;
      })}
    </div>
  );
}

interface Found {
  project: string;
  entry: ModelEntry;
  column: string | null;
  weight: number;
}

function Search({ projects }: { projects: Listed[] }) {
  const [text, setText] = useState("");
  const [models, setModels] = useState<Map<string, ModelEntry[]> | null>(null);
  const [docs, setDocs] = useState<Map<string, string | null>>(new Map());
  const [asked, setAsked] = useState(false);
  useEffect(() => {
    if (!asked) return;
    void (async () => {
      const found = new Map<string, ModelEntry[]>();
      const links = new Map<string, string | null>();
      await Promise.all(
        projects.map(async ({ name }) => {
          const file = await load<{ format_version: number; models: ModelEntry[] }>(`../${encodeURIComponent(name)}/history/models.json`);
          if (!file) return;
          found.set(name, file.models);
          const overview = await load<Overview>(`../${encodeURIComponent(name)}/history/overview.json`);
          links.set(name, docsOf(name, overview?.docs_prefix));
        }),
      );
      setDocs(links);
      setModels(found);
    })();
  }, [asked]);
  const results = useMemo(() => (models ? find(models, text) : []), [models, text]);
  return (
    <Section id="search" title="Find a model">
      <div class="search-box">
        <label class="hidden" for="wanted">Name, column or words of the description</label>
        <input id="wanted" type="search" placeholder="Name, column or words of the description" value={text} onFocus={() => setAsked(true)} onInput={(event) => setText(event.currentTarget.value)} />
        <span class="note" role="status">{!text.trim() ? "" : models ? (results.length > MOST_RESULTS ? `the first ${MOST_RESULTS} of ${results.length}` : count(results.length, "model")) : "Loading …"}</span>
      </div>
      {models && text.trim() && (
        <ul class="results">
          {results.slice(0, MOST_RESULTS).map(({ project, entry, column }) => {
            const [id, type, name, description] = entry;
            const link = docs.get(project);
            return (
              <li key={`${project}/${id}`}>
                <p>
                  {link ? <a href={`${link}#!/${encodeURIComponent(type)}/${encodeURIComponent(id)}`}><T>{name}</T></a> : <strong><T>{name}</T></strong>}{" "}
                  <span class="dim">{type} of <T>{project}</T></span>
                  {column !== null && <span class="dim">, column <mark><T>{column}</T></mark></span>}
                </p>
                {description && <p class="dim"><T>{description}</T></p>}
              </li>
            );
          })}
        </ul>
      )}
    </Section>
  );
}

/** What has all the words: names first, then columns, then descriptions. */
function find(models: Map<string, ModelEntry[]>, text: string): Found[] {
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!wanted.length) return [];
  const found: Found[] = [];
  for (const [project, entries] of models) {
    for (const entry of entries) {
      const name = entry[2].toLowerCase();
      const rest = entry[3].toLowerCase();
      let weight = 0;
      let column: string | null = null;
      for (const word of wanted) {
        if (name.includes(word)) weight += name === word ? 100 : name.startsWith(word) ? 50 : 30;
        else {
          const hit = entry[4].find((one) => one.toLowerCase().includes(word));
          if (hit !== undefined) {
            column = hit;
            weight += 10;
          } else if (rest.includes(word)) weight += 3;
          else {
            weight = 0;
            break;
          }
        }
      }
      if (weight) found.push({ project, entry, column, weight });
    }
  }
  return found.sort((a, b) => b.weight - a.weight || a.entry[2].localeCompare(b.entry[2]));
}
