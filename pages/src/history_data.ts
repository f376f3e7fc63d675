/** The history of projects, as docs/pages.md describes it; written by container/runner/history.py. */

import { Cron } from "croner";

import { median } from "./format";

export interface Listed {
  name: string;
  schedule: string | null;
  time_zone: string;
  deadline_seconds: number;
}

/** What `cdk deploy` says of an environment. */
export interface List {
  format_version: number;
  environment: string;
  records_retention_days?: number;
  projects: Listed[];
}

export interface ShortRun {
  run_id: string;
  attempt: number;
  outcome: string;
  started_at: string;
  seconds: number | null;
}

export interface Run extends ShortRun {
  headline: string;
  ended_at: string;
  counts: Record<string, number>;
  failed: string[];
  docs: boolean;
}

export interface Overview {
  format_version: number;
  begun?: { run_id: string; attempt: number; started_at: string }[];
  last?: Run;
  docs_prefix?: string | null;
  runs?: ShortRun[];
}

export type NodeEntry = [id: string, type: string, name: string, letters: string, seconds: (number | null)[]];
export type ModelEntry = [id: string, type: string, name: string, description: string, columns: string[]];

const DAY = 86_400_000;
const OUTCOMES = new Set(["success", "failed", "error", "interrupted", "killed"]);

/** A file of the bucket, null if there is none, or if it is of a form that this page does not know. */
export async function load<Content extends { format_version: number }>(path: string): Promise<Content | null> {
  try {
    const answer = await fetch(path, { cache: "no-cache" });
    if (!answer.ok) return null;
    const content = (await answer.json()) as Content;
    return content?.format_version === 1 ? content : null;
  } catch {
    return null;
  }
}

export function folderOf(project: string): string {
  return `../${encodeURIComponent(project)}/`;
}

/** What is in an address is encoded but for what S3's keys keep. */
export function reportOf(project: string, run: ShortRun): string {
  return `${folderOf(project)}runs/${encodeURIComponent(run.run_id)}/attempts/${String(run.attempt).padStart(4, "0")}/report.html`;
}

export function docsOf(project: string, docsPrefix: string | null | undefined): string | null {
  const folder = folderOfDocs(docsPrefix);
  return folder ? `${folderOf(project)}docs/${encodeURIComponent(folder)}/index.html` : null;
}

/** The docs that one attempt made. */
export function docsOfRun(project: string, run: ShortRun): string {
  return docsOf(project, docsFolder(run))!;
}

/** The attempt that made the docs below a prefix, undefined if it is too old for the history. */
export function runOfDocs(runs: readonly Run[], docsPrefix: string | null | undefined): Run | undefined {
  const folder = folderOfDocs(docsPrefix);
  return runs.findLast((run) => docsFolder(run) === folder);
}

function folderOfDocs(docsPrefix: string | null | undefined): string | undefined {
  return docsPrefix?.replace(/\/$/, "").split("/").pop();
}

function docsFolder(run: ShortRun): string {
  return `${run.run_id}-${String(run.attempt).padStart(4, "0")}`;
}

/**
 * Whether S3 has deleted what a run left: after so many days, at the next midnight in UTC.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html#intro-lifecycle-rules-number-of-days
 */
export function hasExpired(run: Run, list: List | null, now: number): boolean {
  if (!list?.records_retention_days) return false;
  return now >= Math.ceil(Date.parse(run.ended_at) / DAY + list.records_retention_days) * DAY;
}

export function stateOf(overview: Overview | null, listed: Listed, now: number): string {
  const last = overview?.last;
  const begun = overview?.begun?.at(-1);
  if (begun && (!last || begun.started_at > last.ended_at)) {
    // A run ends itself at its deadline; one that is far beyond it was killed.
    return now - Date.parse(begun.started_at) < (listed.deadline_seconds + 600) * 1000 ? "running" : "killed";
  }
  if (!last) return "no run yet";
  return OUTCOMES.has(last.outcome) ? last.outcome : "unknown";
}

export function nextRun(listed: Listed, now: number): Date | null {
  if (!listed.schedule) return null;
  try {
    return new Cron(listed.schedule, { timezone: listed.time_zone, paused: true }).nextRun(new Date(now));
  } catch {
    return null;
  }
}

/** How much longer the last five good runs took than those before them, as a factor; null if too few are known. */
export function trend(runs: readonly ShortRun[]): number | null {
  const good = runs.filter((run) => run.outcome === "success" && run.seconds !== null).map((run) => run.seconds!);
  const late = good.slice(-5);
  const early = good.slice(0, -5);
  if (early.length < 5) return null;
  return median(late)! / Math.max(median(early)!, 0.1);
}

export function trendWords(factor: number | null): string {
  if (factor === null) return "";
  const percent = Math.round((factor - 1) * 100);
  return Math.abs(percent) < 10 ? "steady" : percent > 0 ? `${percent} % longer` : `${-percent} % shorter`;
}

export interface Flaky {
  entry: NodeEntry;
  changes: number;
}

/** Tests that were in turn good and bad: at least two changes in the runs that are known. */
export function flaky(nodes: readonly NodeEntry[]): Flaky[] {
  return nodes
    .filter((entry) => entry[1] === "test" || entry[1] === "unit_test")
    .map((entry) => {
      const ends = [...entry[3]].filter((letter) => "swfe".includes(letter)).map((letter) => letter === "s");
      return { entry, changes: ends.filter((good, at) => at > 0 && good !== ends[at - 1]).length };
    })
    .filter((found) => found.changes >= 2)
    .sort((a, b) => b.changes - a.changes);
}

export interface Slower {
  entry: NodeEntry;
  before: number;
  now: number;
}

/** Models whose last five runs took half as long again as those before, and a second more at least. */
export function slower(nodes: readonly NodeEntry[]): Slower[] {
  const found: Slower[] = [];
  for (const entry of nodes) {
    if (!["model", "seed", "snapshot"].includes(entry[1])) continue;
    const took = entry[4].filter((seconds) => seconds !== null);
    if (took.length < 8) continue;
    const now = median(took.slice(-5))!;
    const before = median(took.slice(0, -5))!;
    if (now >= before * 1.5 && now - before >= 1) found.push({ entry, before, now });
  }
  return found.sort((a, b) => b.now - b.before - (a.now - a.before));
}
