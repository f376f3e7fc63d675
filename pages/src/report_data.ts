/** The data of one report, as docs/pages.md describes them; written by container/runner/page_data.py. */

export type Status = "success" | "warn" | "fail" | "error" | "skipped" | "not_run";

export interface Sample {
  columns: string[];
  rows: (string | null)[][];
}

export interface Detail {
  message?: string;
  message_cut?: number;
  sql?: string;
  sql_cut?: number;
  sample?: Sample;
  withheld?: string;
  /** Where the node is written, and its description. */
  file?: string;
  about?: string;
}

export interface NodeHistory {
  /** One letter for each earlier run, oldest first: s, w, f, e, k, n. */
  statuses: string;
  /** When the present series of failures began, if the node failed now and before. */
  failing_since?: string;
  failing_run?: string;
}

export interface ReportData {
  format_version: number;
  project: string;
  environment: string;
  run_id: string;
  attempt: number;
  outcome: string;
  headline: string;
  reason: string | null;
  started_at: string;
  ended_at: string;
  seconds: number;
  usual_seconds: number | null;
  threads: number;
  code: Record<string, string>;
  versions: Record<string, string>;
  task_arn?: string;
  log?: { group?: string; stream?: string };
  launched_by: Record<string, string>;
  starts_over?: string;
  attempts: { attempt: number; started_at: string; outcome: string; seconds: number | null }[];
  steps: { name: string; policy: string; outcome: string; seconds: number; message?: string }[];
  docs: { href: string; from: string | null } | null;
  /** See NODE_FIELDS. */
  nodes: NodeRow[];
  /** By index into `nodes`. */
  details: Record<string, Detail>;
  history: Record<string, NodeHistory>;
  /** Pairs of indices: the first is needed by the second. */
  edges: number[];
  cut: number;
}

export type NodeRow = [
  id: string,
  type: string,
  name: string,
  step: number | null,
  status: Status | null,
  start: number | null,
  seconds: number | null,
  lane: number | null,
  rows: number | null,
  failures: number | null,
  from_attempt: number | null,
  usual: number | null,
  attached: number | null,
];

export interface Node {
  index: number;
  id: string;
  type: string;
  name: string;
  step: string | null;
  /** Null for what stands in the graph only: a source that was not asked about. */
  status: Status | null;
  start: number | null;
  seconds: number;
  lane: number | null;
  rows: number | null;
  failures: number | null;
  fromAttempt: number | null;
  usual: number | null;
  attached: number | null;
  parents: number[];
  children: number[];
  tests: number[];
}

export const BAD: ReadonlySet<string | null> = new Set(["error", "fail"]);
export const TESTS: ReadonlySet<string> = new Set(["test", "unit_test"]);
export const BUILT: ReadonlySet<string> = new Set(["model", "seed", "snapshot"]);
const RANK: Status[] = ["error", "fail", "not_run", "skipped", "warn", "success"];

export function rank(status: Status | null): number {
  return status === null ? RANK.length : RANK.indexOf(status);
}

export class Report {
  readonly nodes: Node[];
  readonly critical: ReadonlySet<number>;
  readonly criticalSeconds: number;

  constructor(readonly data: ReportData) {
    this.nodes = data.nodes.map((row, index) => ({
      index,
      id: row[0],
      type: row[1],
      // A button or a row of nothing could not be seen or named.
      name: /\S/.test(row[2]) ? row[2] : "(no name)",
      step: row[3] === null ? null : (data.steps[row[3]]?.name ?? null),
      status: row[4],
      start: row[5],
      seconds: row[6] ?? 0,
      lane: row[7],
      rows: row[8],
      failures: row[9],
      fromAttempt: row[10],
      usual: row[11],
      attached: row[12],
      parents: [],
      children: [],
      tests: [],
    }));
    for (let at = 0; at + 1 < data.edges.length; at += 2) {
      const from = data.edges[at]!;
      const to = data.edges[at + 1]!;
      this.nodes[from]?.children.push(to);
      this.nodes[to]?.parents.push(from);
    }
    for (const node of this.nodes) {
      if (node.attached !== null && TESTS.has(node.type)) this.nodes[node.attached]?.tests.push(node.index);
    }
    const [path, seconds] = criticalPath(this.nodes);
    this.critical = new Set(path);
    this.criticalSeconds = seconds;
  }

  get ran(): Node[] {
    return this.nodes.filter((node) => node.status !== null);
  }

  detail(node: Node): Detail {
    return this.data.details[String(node.index)] ?? {};
  }

  historyOf(node: Node): NodeHistory | undefined {
    return this.data.history[String(node.index)];
  }

  /** All nodes behind `node`. */
  downstream(node: Node): Set<number> {
    return reach(node.index, (index) => this.nodes[index]!.children);
  }

  docsLink(node: Node): string | null {
    const kinds = new Set(["model", "seed", "snapshot", "source", "test", "unit_test"]);
    // A long id is cut, and dbt's page would not know what is left of it.
    if (!this.data.docs || !kinds.has(node.type) || node.id.endsWith("…")) return null;
    return `${this.data.docs.href}#!/${node.type}/${encodeURIComponent(node.id)}`;
  }
}

export function reach(from: number, next: (index: number) => readonly number[]): Set<number> {
  const found = new Set<number>();
  const waiting = [...next(from)];
  while (waiting.length) {
    const index = waiting.pop()!;
    if (found.has(index)) continue;
    found.add(index);
    waiting.push(...next(index));
  }
  return found;
}

/**
 * The chain of nodes, each waiting for the one before, that took longest: more threads cannot make the run shorter than it.
 * In `dbt build` the tests of a node stand between it and what comes after it.
 */
function criticalPath(nodes: readonly Node[]): [number[], number] {
  const before = (node: Node): number[] => {
    if (TESTS.has(node.type)) return node.parents;
    return node.parents.flatMap((parent) => [parent, ...nodes[parent]!.tests.filter((test) => nodes[test]!.step === node.step)]);
  };
  const total = new Float64Array(nodes.length).fill(-1);
  const previous = new Int32Array(nodes.length).fill(-1);
  const open = new Uint8Array(nodes.length);
  const order: number[] = [];
  // Without recursion: a chain of thousands of models would be too deep for the stack.
  for (const root of nodes) {
    const stack: [number, number[], number][] = [[root.index, before(root), 0]];
    if (open[root.index]) continue;
    open[root.index] = 1;
    while (stack.length) {
      const top = stack[stack.length - 1]!;
      const next = top[1][top[2]++];
      if (next === undefined) {
        order.push(top[0]);
        stack.pop();
      } else if (!open[next]) {
        open[next] = 1;
        stack.push([next, before(nodes[next]!), 0]);
      }
    }
  }
  let last = -1;
  for (const index of order) {
    const node = nodes[index]!;
    let longest = 0;
    for (const other of before(node)) {
      if (total[other]! > longest) {
        longest = total[other]!;
        previous[index] = other;
      }
    }
    total[index] = longest + (node.start === null ? 0 : node.seconds);
    if (last < 0 || total[index]! > total[last]!) last = index;
  }
  const path: number[] = [];
  for (let index = last; index >= 0; index = previous[index]!) if (nodes[index]!.start !== null) path.push(index);
  return [path.reverse(), last < 0 ? 0 : total[last]!];
}
