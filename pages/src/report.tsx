/** The report of one attempt: what ran, what broke and why, and what to do next. */

import "./style.css";

import { render } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { count, duration, safeLink, time, words } from "./format";
import { Graph } from "./graph";
import { consoleLinks } from "./links";
import { Fact, Past, Section, State, T, ThemeSwitch } from "./parts";
import { BAD, BUILT, type Detail, type Node, rank, Report, type ReportData, TESTS } from "./report_data";
import { type Column, Table } from "./table";
import { Timeline } from "./timeline";

const FRESHNESS = "source_freshness";
const FIRST_FAILURES = 20;

function Page({ report }: { report: Report }) {
  const { data } = report;
  const [chosen, setChosen] = useState<Node | null>(null);
  const ran = report.ran;
  const failed = sorted(ran.filter((node) => BAD.has(node.status) && node.step !== FRESHNESS));
  const cut = ran.filter((node) => report.detail(node).message && node.status === "not_run" && isCutOff(report, node));
  const warned = sorted(ran.filter((node) => node.status === "warn" && node.step !== FRESHNESS));
  const sources = ran.filter((node) => node.step === FRESHNESS);
  return (
    <>
      <a class="skip" href="#nodes">Skip to the nodes</a>
      <header>
        <p class="crumbs">
          <T>{data.project}</T> on <T>{data.environment}</T> <span class="dim">run</span> <T>{data.run_id}</T>
        </p>
        <ThemeSwitch />
      </header>
      <main>
        <div class={`headline ${data.outcome}`}>
          <p><State of={data.outcome} /></p>
          <h1 dir="auto">{data.headline}</h1>
          <p class="dim">{summary(report)}</p>
        </div>
        <Figures report={report} />
        <NextStep report={report} failed={failed} />
        {(failed.length > 0 || cut.length > 0 || data.reason) && (
          <Section id="failures" title="What went wrong" note={failed.length > 1 ? count(failed.length, "node") : undefined}>
            <Reason report={report} failed={failed} />
            <Failures report={report} nodes={[...failed, ...cut]} onChoose={setChosen} />
          </Section>
        )}
        {data.steps.length > 0 && <Steps report={report} />}
        {ran.length > 0 && (
          <>
            <Section
              id="timeline"
              title="Timeline"
              note={report.criticalSeconds > 0 && `The critical path took ${duration(report.criticalSeconds)}: more threads cannot make the run shorter than that.`}
            >
              <Timeline report={report} onChoose={setChosen} />
            </Section>
            <Section id="graph" title="Graph">
              <Graph report={report} onChoose={setChosen} />
            </Section>
          </>
        )}
        {warned.length > 0 && (
          <Section id="warnings" title="Warnings" note={count(warned.length, "node")}>
            <Failures report={report} nodes={warned} onChoose={setChosen} />
          </Section>
        )}
        {sources.length > 0 && <Freshness report={report} nodes={sorted(sources)} />}
        {ran.length > 0 && (
          <>
            <Slowest report={report} onChoose={setChosen} />
            <Nodes report={report} onChoose={setChosen} />
          </>
        )}
        {ran.length === 0 && !data.reason && <p class="empty">The run was asked for no node, so it had nothing to do.</p>}
        <Attempts report={report} />
        <Facts report={report} />
      </main>
      <Panel report={report} node={chosen} onChoose={setChosen} />
    </>
  );
}

function isCutOff(report: Report, node: Node): boolean {
  return report.detail(node).sql !== undefined || (report.detail(node).message ?? "").startsWith("cut off");
}

function sorted(nodes: Node[]): Node[] {
  return [...nodes].sort((a, b) => rank(a.status) - rank(b.status) || b.seconds - a.seconds);
}

function summary({ data, nodes }: Report): string {
  const built = nodes.filter((node) => BUILT.has(node.type) && node.status !== null);
  const missing = built.filter((node) => node.status !== "success" && node.status !== "warn").length;
  const tests = nodes.filter((node) => TESTS.has(node.type) && BAD.has(node.status)).length;
  const parts = [
    built.length > 0 && (missing ? `${missing} of ${count(built.length, "model")} not built` : `all ${count(built.length, "model")} built`),
    tests > 0 && `${count(tests, "test")} failed`,
    data.attempt > 1 && `attempt ${data.attempt}`,
    `ended ${time(data.ended_at)} after ${duration(data.seconds)}`,
  ];
  return parts.filter(Boolean).join(" · ");
}

function Figures({ report }: { report: Report }) {
  const { data } = report;
  const ran = report.ran;
  if (!ran.length) return null;
  const built = ran.filter((node) => BUILT.has(node.type));
  const tests = ran.filter((node) => TESTS.has(node.type));
  const good = (nodes: Node[]) => nodes.filter((node) => node.status === "success" || node.status === "warn").length;
  const rows = ran.reduce((sum, node) => sum + (node.rows ?? 0), 0);
  const resumed = ran.filter((node) => node.fromAttempt !== null).length;
  const skipped = ran.filter((node) => node.status === "skipped" || node.status === "not_run").length;
  return (
    <dl class="figures">
      <Fact name="models built"><b>{good(built)}</b> of {built.length}</Fact>
      {tests.length > 0 && <Fact name="tests passed"><b>{good(tests)}</b> of {tests.length}</Fact>}
      {skipped > 0 && <Fact name="not begun"><b>{skipped}</b></Fact>}
      <Fact name="took">
        <b>{duration(data.seconds)}</b>
        {data.usual_seconds !== null && <span class="dim"> usually {duration(data.usual_seconds)}</span>}
      </Fact>
      {rows > 0 && <Fact name="rows"><b>{rows.toLocaleString("en")}</b></Fact>}
      {resumed > 0 && <Fact name="from earlier attempts"><b>{resumed}</b></Fact>}
    </dl>
  );
}

/** What nobody's shell takes for more than a word. */
const WORD = /^[\w.:+@-]+$/;

/** What runs the rest, as who started the run would do it. */
function Again({ report }: { report: Report }) {
  const { data } = report;
  const undone = report.ran.filter((node) => node.status !== "success" && node.status !== "warn" && node.step !== FRESHNESS).length;
  const effect = undone ? `this builds only the ${count(undone, "node")} that ${undone === 1 ? "is" : "are"} not done` : "this starts anew";
  if (data.launched_by.kind === "airflow") {
    const task = safeLink(data.launched_by.url ?? "");
    return <>clear {task ? <a href={task}>the task “run” in Airflow</a> : "the task “run” in Airflow"}: {effect}</>;
  }
  const names = Object.entries({ ENV: data.environment, PROJECT: data.project, RUN: data.run_id });
  return <>run <code>{["make retry", ...names.filter(([_, value]) => WORD.test(value)).map(([name, value]) => `${name}=${value}`)].join(" ")}</code>: {effect}</>;
}

function NextStep({ report, failed }: { report: Report; failed: Node[] }) {
  const { data } = report;
  if (data.outcome === "success") return null;
  if (data.outcome === "failed" && failed.length) {
    const code = failed.every((node) => TESTS.has(node.type)) ? "the code of the model or of the test" : "the code";
    return (
      <div class="next">
        <strong>What to do</strong>
        <ul>
          <li><b>If the cause lies in the data or the warehouse:</b> correct it there and <Again report={report} />.</li>
          <li><b>{`If it lies in ${code}:`}</b> deploy the correction and start a new run, which builds everything.</li>
        </ul>
      </div>
    );
  }
  const isFine = data.outcome === "interrupted";
  const isContinued = data.launched_by.kind === "eventbridge";
  return (
    <p class="next">
      <strong>What to do:</strong> {isFine ? "Nothing is wrong with the nodes themselves. To go on, " : "Correct what is named below. Then "}
      {isContinued && "wait some minutes for the next attempt, which begins by itself, three attempts in all; if none does, "}
      <Again report={report} />.
    </p>
  );
}

function Reason({ report, failed }: { report: Report; failed: Node[] }) {
  if (!report.data.reason || failed.length) return null;
  return (
    <div class="card failure">
      <pre dir="auto" tabIndex={0}>{report.data.reason}</pre>
    </div>
  );
}

function Failures({ report, nodes, onChoose }: { report: Report; nodes: Node[]; onChoose: (node: Node) => void }) {
  const [all, setAll] = useState(false);
  const shown = all ? nodes.slice(0, 500) : nodes.slice(0, FIRST_FAILURES);
  return (
    <>
      {shown.map((node) => (
        <Failure key={node.index} report={report} node={node} onChoose={onChoose} />
      ))}
      {shown.length < nodes.length && !all && (
        <button type="button" onClick={() => setAll(true)}>{`Show ${Math.min(nodes.length, 500) - shown.length} more`}</button>
      )}
    </>
  );
}

function Failure({ report, node, onChoose }: { report: Report; node: Node; onChoose: (node: Node) => void }) {
  const detail = report.detail(node);
  const behind = BUILT.has(node.type) || TESTS.has(node.type) ? waiting(report, node) : 0;
  return (
    <article class={`card failure ${node.status}`}>
      <h3>
        <State of={node.status ?? "not_run"} />{" "}
        <span class="dim">{words(node.type)}</span>{" "}
        <button type="button" class="link" onClick={() => onChoose(node)}><T>{node.name}</T></button>
      </h3>
      <p class="dim">
        {[
          node.failures ? `found ${count(node.failures, "row")}` : "",
          behind ? `${count(behind, "node")} behind it ${behind === 1 ? "was" : "were"} not built` : "",
          isNew(report, node),
        ]
          .filter(Boolean)
          .join(" · ")}
      </p>
      <Origin report={report} node={node} onChoose={onChoose} />
      <Message detail={detail} />
      <Rows detail={detail} />
      <Sql detail={detail} />
    </article>
  );
}

/** What a test is about, and where to look for what has failed. */
function Origin({ report, node, onChoose }: { report: Report; node: Node; onChoose: (node: Node) => void }) {
  const { file, about } = report.detail(node);
  const tested = TESTS.has(node.type) && node.attached !== null ? report.nodes[node.attached]! : null;
  return (
    <>
      {(tested || file) && (
        <p>
          {tested && <>tests {words(tested.type)} <NodeLink node={tested} onChoose={onChoose} /> </>}
          {file && <>in <code><T>{file}</T></code></>}
        </p>
      )}
      {about && <p><T>{about}</T></p>}
    </>
  );
}

function waiting(report: Report, node: Node): number {
  const from = TESTS.has(node.type) && node.attached !== null ? report.nodes[node.attached]! : node;
  return [...report.downstream(from)].filter((index) => ["skipped", "not_run"].includes(report.nodes[index]!.status ?? "") && BUILT.has(report.nodes[index]!.type)).length;
}

function isNew(report: Report, node: Node): string {
  const past = report.historyOf(node);
  if (!past || !past.statuses) return "";
  if (past.failing_since) return `failing since ${time(past.failing_since)}`;
  const good = /[sw]*$/.exec(past.statuses)?.[0].length ?? 0;
  return good ? `new: it was in order in the ${good === 1 ? "run" : `${good} runs`} before` : "";
}

function Message({ detail }: { detail: Detail }) {
  return (
    <>
      <pre dir="auto" tabIndex={0}>{detail.message ?? "no message"}</pre>
      {detail.message_cut && <p class="note">{`Cut: ${count(detail.message_cut, "character")} more stand in the record.`}</p>}
    </>
  );
}

function Sql({ detail }: { detail: Detail }) {
  if (!detail.sql) return null;
  return (
    <details>
      <summary>The SQL that was sent</summary>
      <pre class="code" dir="ltr" tabIndex={0}>{detail.sql}</pre>
      {detail.sql_cut && <p class="note">{`Cut: ${count(detail.sql_cut, "character")} more stand in the record.`}</p>}
    </details>
  );
}

function Rows({ detail }: { detail: Detail }) {
  if (detail.withheld) return <p class="note">No rows are shown: <T>{detail.withheld}</T>.</p>;
  if (!detail.sample) return null;
  return (
    <details open>
      <summary>Some of the rows</summary>
      <div class="scroll short" tabIndex={0} role="region" aria-label="Some of the rows">
        <table>
          <thead>
            <tr>{detail.sample.columns.map((name) => <th scope="col"><T>{name}</T></th>)}</tr>
          </thead>
          <tbody>
            {detail.sample.rows.map((row) => (
              <tr>{row.map((value) => <td>{value === null ? <span class="dim">null</span> : <T>{value}</T>}</td>)}</tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

function Steps({ report }: { report: Report }) {
  return (
    <Section id="steps" title="Steps">
      <div class="scroll short" tabIndex={0} role="region" aria-label="Steps">
        <table>
          <thead>
            <tr>
              <th scope="col">step</th>
              <th scope="col">outcome</th>
              <th scope="col">policy</th>
              <th scope="col" class="number">took</th>
              <th scope="col">why</th>
            </tr>
          </thead>
          <tbody>
            {report.data.steps.map((step) => (
              <tr>
                <td>{words(step.name)}</td>
                <td><State of={step.outcome} /></td>
                <td>{words(step.policy)}</td>
                <td class="number">{duration(step.seconds)}</td>
                <td class="wide"><T>{step.message ?? ""}</T></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

function Freshness({ report, nodes }: { report: Report; nodes: Node[] }) {
  const columns: Column<Node>[] = [
    { name: "source", title: "source", by: (node) => node.name, show: (node) => <T>{node.name}</T> },
    { name: "state", title: "state", by: (node) => rank(node.status), show: (node) => <State of={node.status === "fail" ? "fail" : (node.status ?? "not_run")} /> },
    { name: "said", title: "newest row", show: (node) => <T>{report.detail(node).message ?? ""}</T>, wide: true },
    { name: "past", title: "before", show: (node) => <Past statuses={report.historyOf(node)?.statuses ?? ""} /> },
  ];
  const stale = nodes.filter((node) => node.status !== "success").length;
  return (
    <Section id="freshness" title="Freshness" note={stale ? `${count(stale, "source")} not fresh` : `all ${count(nodes.length, "source")} fresh`}>
      <Table label="Freshness of sources" rows={nodes} columns={columns} keyOf={(node) => node.index} />
    </Section>
  );
}

function Slowest({ report, onChoose }: { report: Report; onChoose: (node: Node) => void }) {
  const slow = useMemo(() => report.ran.filter((node) => node.start !== null && BUILT.has(node.type)).sort((a, b) => b.seconds - a.seconds).slice(0, 10), [report]);
  if (!slow.length) return null;
  const most = Math.max(...slow.map((node) => Math.max(node.seconds, node.usual ?? 0)), 0.001);
  const known = slow.some((node) => node.usual !== null);
  return (
    <Section id="slowest" title="Slowest models" note={known ? "against the median of their last runs" : "no earlier run to compare with yet"}>
      <div class="scroll short" tabIndex={0} role="region" aria-label="Slowest models">
        <table>
          <thead>
            <tr>
              <th scope="col">model</th>
              <th scope="col" class="number">took</th>
              <th scope="col" class="number">usually</th>
              <th scope="col" class="number">change</th>
              <th scope="col" class="bars-head"><span class="hidden">both as bars</span></th>
            </tr>
          </thead>
          <tbody>
            {slow.map((node) => (
              <tr>
                <td><NodeLink node={node} onChoose={onChoose} /></td>
                <td class="number">{duration(node.seconds)}</td>
                <td class="number">{duration(node.usual)}</td>
                <td class="number">{change(node)}</td>
                <td class="bars" aria-hidden="true">
                  <i style={{ width: `${(node.seconds / most) * 100}%` }} />
                  {node.usual !== null && <i class="usual" style={{ width: `${(node.usual / most) * 100}%` }} />}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

function change(node: Node): string {
  if (node.usual === null || node.usual < 0.05) return "";
  const factor = node.seconds / node.usual;
  if (factor > 0.9 && factor < 1.1) return "as usual";
  return factor >= 1 ? `${factor.toFixed(1)} × longer` : `${(1 / factor).toFixed(1)} × shorter`;
}

function NodeLink({ node, onChoose }: { node: Node; onChoose: (node: Node) => void }) {
  return (
    <button type="button" class="link" onClick={() => onChoose(node)}><T>{node.name}</T></button>
  );
}

const KINDS: [value: string, title: string, keep: (node: Node) => boolean][] = [
  ["", "every status", () => true],
  ["bad", "failed", (node) => BAD.has(node.status)],
  ["warn", "warned", (node) => node.status === "warn"],
  ["undone", "skipped or not run", (node) => node.status === "skipped" || node.status === "not_run"],
  ["success", "success", (node) => node.status === "success"],
];

function Nodes({ report, onChoose }: { report: Report; onChoose: (node: Node) => void }) {
  const [text, setText] = useState("");
  const [status, setStatus] = useState("");
  const [type, setType] = useState("");
  const ran = useMemo(() => sorted(report.ran), [report]);
  const types = useMemo(() => [...new Set(ran.map((node) => node.type))].sort(), [ran]);
  const rows = useMemo(() => {
    const keep = KINDS.find(([value]) => value === status)![2];
    const wanted = text.trim().toLowerCase();
    return ran.filter((node) => keep(node) && (!type || node.type === type) && (!wanted || node.id.toLowerCase().includes(wanted) || node.name.toLowerCase().includes(wanted)));
  }, [ran, text, status, type]);
  const columns: Column<Node>[] = useMemo(
    () => [
      { name: "status", title: "status", by: (node) => rank(node.status), show: (node) => <State of={node.status ?? "not_run"} /> },
      { name: "name", title: "node", by: (node) => node.name.toLowerCase(), show: (node) => <NodeLink node={node} onChoose={onChoose} />, wide: true },
      { name: "type", title: "type", by: (node) => node.type, show: (node) => words(node.type) },
      { name: "step", title: "step", by: (node) => node.step ?? "", show: (node) => words(node.step ?? "") },
      { name: "start", title: "began", by: (node) => node.start ?? -1, show: (node) => (node.start === null ? "" : duration(node.start)), number: true },
      { name: "took", title: "took", by: (node) => node.seconds, show: (node) => (node.start === null && !node.fromAttempt ? "" : duration(node.seconds)), number: true },
      { name: "usual", title: "usually", by: (node) => node.usual ?? -1, show: (node) => duration(node.usual), number: true },
      { name: "rows", title: "rows", by: (node) => node.rows ?? -1, show: (node) => node.rows?.toLocaleString("en") ?? "", number: true },
      { name: "where", title: "thread", by: (node) => node.lane ?? -1, show: (node) => (node.fromAttempt !== null ? `attempt ${node.fromAttempt}` : node.lane === null ? "" : String(node.lane + 1)), number: true },
    ],
    [onChoose],
  );
  return (
    <Section id="nodes" title="All nodes" note={<span aria-live="polite">{rows.length === ran.length ? count(ran.length, "node") : `${rows.length} of ${count(ran.length, "node")}`}</span>}>
      <div class="tools">
        <label><span class="hidden">Search by name</span><input type="search" placeholder="Search by name" value={text} onInput={(event) => setText(event.currentTarget.value)} /></label>
        <label>
          <span class="hidden">Status</span>
          <select value={status} onChange={(event) => setStatus(event.currentTarget.value)}>
            {KINDS.map(([value, title]) => <option value={value}>{title}</option>)}
          </select>
        </label>
        <label>
          <span class="hidden">Type</span>
          <select value={type} onChange={(event) => setType(event.currentTarget.value)}>
            <option value="">every type</option>
            {types.map((name) => <option value={name}>{words(name)}</option>)}
          </select>
        </label>
      </div>
      {rows.length ? <Table label="All nodes" rows={rows} columns={columns} keyOf={(node) => node.index} /> : <p class="empty">No node is like that.</p>}
    </Section>
  );
}

function Attempts({ report }: { report: Report }) {
  const { data } = report;
  if (data.attempts.length < 2 && !data.starts_over) return null;
  return (
    <Section id="attempts" title="Attempts" note={data.starts_over ? `Earlier attempts count for nothing: ${data.starts_over}` : undefined}>
      <ul class="plain">
        {data.attempts.map((attempt) => (
          <li>
            <State of={attempt.outcome} /> attempt {attempt.attempt}, began {time(attempt.started_at)}
            {attempt.seconds !== null && <>, took {duration(attempt.seconds)}</>}
            {attempt.attempt === data.attempt ? ", this one" : <> · <a href={`../${String(attempt.attempt).padStart(4, "0")}/report.html`}>its report</a>{attempt.outcome === "killed" && " (a killed container wrote none)"}</>}
          </li>
        ))}
      </ul>
    </Section>
  );
}

function Facts({ report }: { report: Report }) {
  const { data } = report;
  const links = consoleLinks(data);
  const airflow = safeLink(data.launched_by.url ?? "");
  const { url: _, ...launched } = data.launched_by;
  return (
    <Section id="facts" title="This run">
      <dl class="facts">
        {data.docs && (
          <Fact name="dbt docs"><a href={data.docs.href}>{data.docs.from ? `of run ${data.docs.from}, the last that made docs` : "of this run"}</a></Fact>
        )}
        {airflow && <Fact name="Airflow"><a href={airflow}>the run in Airflow</a></Fact>}
        {links.task && <Fact name="ECS task"><a href={links.task}>in the console</a></Fact>}
        {links.log && <Fact name="log"><a href={links.log}>in CloudWatch</a></Fact>}
        {data.log?.group && <Fact name="log stream"><T>{`${data.log.group} ${data.log.stream ?? ""}`}</T></Fact>}
        <Fact name="record"><a href="end.json">end.json</a></Fact>
        <Fact name="started">{time(data.started_at)}</Fact>
        {data.code.git_commit && <Fact name="commit"><code><T>{data.code.git_commit}</T></code></Fact>}
        {data.code.image && <Fact name="image"><code><T>{data.code.image}</T></code></Fact>}
        <Fact name="code"><code><T>{data.code.fingerprint ?? ""}</T></code></Fact>
        <Fact name="versions"><T>{Object.entries(data.versions).map(([name, version]) => `${name} ${version}`).join(", ")}</T></Fact>
        <Fact name="threads">{data.threads}</Fact>
        {Object.entries(launched).map(([name, value]) => <Fact name={words(name)}><T>{value}</T></Fact>)}
      </dl>
      {data.cut > 0 && <p class="note">{`This page would have been too large: texts of ${count(data.cut, "node")} are shortened here and whole in the record.`}</p>}
    </Section>
  );
}

const MOST_NEIGHBOURS = 60;

function Panel({ report, node, onChoose }: { report: Report; node: Node | null; onChoose: (node: Node | null) => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (node && !dialog.current!.open) dialog.current!.showModal();
    if (!node && dialog.current!.open) dialog.current!.close();
  }, [node]);
  const docs = node && report.docsLink(node);
  const past = node && report.historyOf(node);
  return (
    <dialog ref={dialog} aria-labelledby="chosen" onClose={() => onChoose(null)} onClick={(event) => event.target === dialog.current && dialog.current!.close()}>
      {node && (
        <div class="panel">
          <div class="section-head">
            <h2 id="chosen"><T>{node.name}</T></h2>
            <button type="button" onClick={() => dialog.current!.close()}>Close</button>
          </div>
          <p><State of={node.status ?? "not_run"} /> <span class="dim">{words(node.type)}{node.step && `, step ${words(node.step)}`}</span></p>
          <dl class="facts">
            <Fact name="unique id"><code><T>{node.id}</T></code></Fact>
            {node.start !== null && <Fact name="began">{duration(node.start)} after the run</Fact>}
            {node.seconds > 0 && <Fact name="took">{duration(node.seconds)}{node.usual !== null && `, usually ${duration(node.usual)}`}</Fact>}
            {node.rows !== null && <Fact name="rows">{node.rows.toLocaleString("en")}</Fact>}
            {node.fromAttempt !== null && <Fact name="done in">attempt {node.fromAttempt}</Fact>}
            {report.critical.has(node.index) && <Fact name="critical path">is on it</Fact>}
            {past?.statuses && <Fact name="before"><Past statuses={past.statuses} /> {isNew(report, node)}</Fact>}
            {docs && <Fact name="docs"><a href={docs}>its page in the dbt docs</a></Fact>}
          </dl>
          {report.detail(node).message && <Message detail={report.detail(node)} />}
          <Rows detail={report.detail(node)} />
          <Sql detail={report.detail(node)} />
          <Neighbours title="Needs" nodes={node.parents} report={report} onChoose={onChoose} />
          <Neighbours title="Needed by" nodes={node.children.filter((index) => !TESTS.has(report.nodes[index]!.type))} report={report} onChoose={onChoose} />
          <Neighbours title="Tests" nodes={node.tests} report={report} onChoose={onChoose} />
        </div>
      )}
    </dialog>
  );
}

function Neighbours({ title, nodes, report, onChoose }: { title: string; nodes: number[]; report: Report; onChoose: (node: Node) => void }) {
  if (!nodes.length) return null;
  const shown = sorted(nodes.map((index) => report.nodes[index]!)).slice(0, MOST_NEIGHBOURS);
  return (
    <>
      <h3>{title}</h3>
      <ul class="plain">
        {shown.map((node) => (
          <li key={node.index}>
            {node.status && <State of={node.status} />} <NodeLink node={node} onChoose={onChoose} />
          </li>
        ))}
        {shown.length < nodes.length && <li class="dim">{`and ${nodes.length - shown.length} more`}</li>}
      </ul>
    </>
  );
}

const data = JSON.parse(document.getElementById("data")!.textContent!) as ReportData;
render(<Page report={new Report(data)} />, document.getElementById("page")!);
