/** What depends on what, with what became of it: all of a small project, the surroundings of what matters in a large one. */

import dagre from "@dagrejs/dagre";
import { select } from "d3-selection";
import { type D3ZoomEvent, zoom, zoomIdentity } from "d3-zoom";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { words } from "./format";
import { T } from "./parts";
import { BAD, type Node, rank, reach, Report, TESTS } from "./report_data";

const MOST_NODES = 150;
const WIDTH = 190;
const HEIGHT = 34;
const LEAST_SCALE = 0.6;
const MOST_OPTIONS = 10_000;

interface Placed {
  node: Node;
  x: number;
  y: number;
  worst: Node["status"];
}

export function Graph({ report, onChoose }: { report: Report; onChoose: (node: Node) => void }) {
  const all = useMemo(() => report.nodes.filter((node) => !TESTS.has(node.type) && node.type !== "operation"), [report]);
  const isLarge = all.length > MOST_NODES;
  const broken = useMemo(() => all.filter((node) => BAD.has(worstOf(report, node))), [report]);
  const [around, setAround] = useState<number | null>(null);
  const chosen = useMemo(() => pick(report, all, around ?? (isLarge ? (broken[0]?.index ?? slowest(all)) : null)), [report, around]);
  const layout = useMemo(() => place(report, chosen), [chosen]);
  const svg = useRef<SVGSVGElement>(null);
  const inner = useRef<SVGGElement>(null);
  const behaviour = useMemo(() => zoom<SVGSVGElement, unknown>().scaleExtent([0.1, 3]), []);

  const fit = () => {
    const element = svg.current;
    if (!element) return;
    const [wide, high] = [element.clientWidth, element.clientHeight];
    const scale = Math.max(LEAST_SCALE, Math.min(1, wide / layout.width, high / layout.height));
    // What does not fit at a size that can be read is shown from where it matters.
    const middle = layout.placed.find(({ node }) => node.index === (around ?? broken[0]?.index)) ?? layout.placed[0] ?? { x: 0, y: 0 };
    const at = (size: number, room: number, point: number) =>
      size * scale <= room ? (room - size * scale) / 2 : Math.min(0, Math.max(room - size * scale, room / 2 - point * scale));
    const move = zoomIdentity.translate(at(layout.width, wide, middle.x), at(layout.height, high, middle.y)).scale(scale);
    select(element).call(behaviour.transform, move);
  };
  useEffect(() => {
    if (!svg.current) return;
    behaviour
      .filter((event: WheelEvent & MouseEvent) => (event.type === "wheel" ? event.ctrlKey || event.metaKey || event.shiftKey : !event.button))
      .on("zoom", (event: D3ZoomEvent<SVGSVGElement, unknown>) => inner.current?.setAttribute("transform", event.transform.toString()));
    select(svg.current).call(behaviour).on("dblclick.zoom", null);
  }, []);
  useEffect(fit, [layout]);

  if (!all.length) return <p class="empty">No model was asked for.</p>;
  return (
    <div class="graph">
      <div class="tools">
        <label>
          {isLarge ? "Around " : "Show "}
          <select
            value={around ?? (isLarge ? String(broken[0]?.index ?? slowest(all)) : "")}
            onChange={(event) => setAround(event.currentTarget.value === "" ? null : Number(event.currentTarget.value))}
          >
            {!isLarge && <option value="">everything</option>}
            {options(all, broken).map((node) => (
              <option value={node.index}>{`${BAD.has(node.status) ? "✕ " : ""}${node.name.slice(0, 80)}`}</option>
            ))}
          </select>
        </label>
        <button type="button" onClick={() => select(svg.current!).call(behaviour.scaleBy, 1.5)}>Closer</button>
        <button type="button" onClick={() => select(svg.current!).call(behaviour.scaleBy, 1 / 1.5)}>Further</button>
        <button type="button" onClick={fit}>Fit</button>
        {chosen.length < all.length && <span class="note">{`${chosen.length} of ${all.length} shown`}</span>}
      </div>
      <svg ref={svg} class="dag" role="group" aria-label="Graph of the nodes; each is a button">
        <g ref={inner}>
          {layout.edges.map((points) => (
            <path class="edge" d={points} />
          ))}
          {layout.placed.map(({ node, x, y, worst }) => (
            <g
              class={`node ${node.status ?? "asked-not"} ${BAD.has(worst) && !BAD.has(node.status) ? "tests-failed" : ""} ${report.critical.has(node.index) ? "on-critical" : ""}`}
              transform={`translate(${x - WIDTH / 2},${y - HEIGHT / 2})`}
              role="button"
              tabIndex={0}
              aria-label={`${shortened(node.name)}, ${node.type} ${shortened(node.name) === node.name ? "" : node.name}: ${node.status ? words(node.status) : "not part of this run"}`}
              onClick={() => onChoose(node)}
              onKeyDown={(event) => {
                if (event.key !== "Enter" && event.key !== " ") return;
                event.preventDefault();
                onChoose(node);
              }}
            >
              <rect width={WIDTH} height={HEIGHT} rx="5" />
              <rect class="bar" width="5" height={HEIGHT} rx="2" />
              <text x="13" y={HEIGHT / 2 + 4}>
                <tspan direction="ltr">{shortened(node.name)}</tspan>
              </text>
            </g>
          ))}
        </g>
      </svg>
      {chosen.length === 0 && <p class="empty"><T>nothing to show</T></p>}
    </div>
  );
}

function shortened(name: string): string {
  return name.length > 25 ? `${name.slice(0, 12)}…${name.slice(-12)}` : name;
}

function slowest(nodes: readonly Node[]): number {
  return nodes.reduce((most, node) => (node.seconds > most.seconds ? node : most)).index;
}

function worstOf(report: Report, node: Node): Node["status"] {
  return [node.index, ...node.tests].map((index) => report.nodes[index]!.status).reduce((worst, status) => (rank(status) < rank(worst) ? status : worst));
}

function options(all: readonly Node[], broken: readonly Node[]): Node[] {
  const rest = all.filter((node) => !broken.includes(node)).sort((a, b) => a.name.localeCompare(b.name));
  return [...broken, ...rest].slice(0, MOST_OPTIONS);
}

/** Everything, or the nodes nearest to one: what it needs, and what waits for it. */
function pick(report: Report, all: readonly Node[], around: number | null): Node[] {
  if (around === null) return [...all];
  const kept = new Set([around]);
  let edge = [around];
  const up = reach(around, (index) => report.nodes[index]!.parents);
  const down = reach(around, (index) => report.nodes[index]!.children);
  while (edge.length && kept.size < MOST_NODES) {
    const next = edge.flatMap((index) => [...report.nodes[index]!.parents.filter((parent) => up.has(parent)), ...report.nodes[index]!.children.filter((child) => down.has(child))]);
    edge = [];
    for (const index of next) {
      if (kept.has(index) || kept.size >= MOST_NODES || TESTS.has(report.nodes[index]!.type)) continue;
      kept.add(index);
      edge.push(index);
    }
  }
  return [...kept].map((index) => report.nodes[index]!);
}

function place(report: Report, nodes: readonly Node[]): { placed: Placed[]; edges: string[]; width: number; height: number } {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "LR", nodesep: 10, ranksep: 46, marginx: 10, marginy: 10 });
  graph.setDefaultEdgeLabel(() => ({}));
  const shown = new Set(nodes.map((node) => node.index));
  for (const node of nodes) graph.setNode(String(node.index), { width: WIDTH, height: HEIGHT });
  for (const node of nodes) {
    for (const child of node.children) if (shown.has(child)) graph.setEdge(String(node.index), String(child));
  }
  dagre.layout(graph);
  const placed = nodes.map((node) => {
    const { x, y } = graph.node(String(node.index)) as unknown as { x: number; y: number };
    return { node, x, y, worst: worstOf(report, node) };
  });
  const edges = graph.edges().map((edge) => {
    const points = (graph.edge(edge) as unknown as { points: { x: number; y: number }[] }).points;
    return curve(points);
  });
  const size = graph.graph() as { width?: number; height?: number };
  return { placed, edges, width: size.width || 1, height: size.height || 1 };
}

/** Through the middles between points, bent at the points. */
function curve(points: { x: number; y: number }[]): string {
  const to = (point: { x: number; y: number }) => `${point.x.toFixed(1)},${point.y.toFixed(1)}`;
  let path = `M${to(points[0]!)}`;
  if (points.length === 2) return `${path}L${to(points[1]!)}`;
  for (let at = 1; at + 1 < points.length; at += 1) {
    const [here, next] = [points[at]!, points[at + 1]!];
    const end = at + 2 === points.length ? next : { x: (here.x + next.x) / 2, y: (here.y + next.y) / 2 };
    path += `Q${to(here)} ${to(end)}`;
  }
  return path;
}
