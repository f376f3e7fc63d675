/** When each node ran and on which thread; by wheel, drag, buttons and keys one looks closer. */

import { scaleLinear } from "d3-scale";
import { select } from "d3-selection";
import { type D3ZoomEvent, type ZoomTransform, zoom, zoomIdentity } from "d3-zoom";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { duration } from "./format";
import { color, STATUS_COLORS, T, useThemeChanges } from "./parts";
import { type Node, Report, TESTS } from "./report_data";

const LANE = 22;
const AXIS = 24;
const MOST_ZOOM = 2000;

export function Timeline({ report, onChoose }: { report: Report; onChoose: (node: Node) => void }) {
  const bars = useMemo(() => report.nodes.filter((node) => node.start !== null && node.lane !== null), [report]);
  const lanes = bars.reduce((most, node) => Math.max(most, node.lane! + 1), 0);
  const begin = bars.reduce((least, node) => Math.min(least, node.start!), Infinity);
  const end = bars.reduce((most, node) => Math.max(most, node.start! + node.seconds), begin + 0.1);
  const canvas = useRef<HTMLCanvasElement>(null);
  const behaviour = useMemo(() => zoom<HTMLCanvasElement, unknown>(), []);
  const [view, setView] = useState<ZoomTransform>(zoomIdentity);
  const [width, setWidth] = useState(0);
  const [over, setOver] = useState<{ node: Node; x: number; y: number } | null>(null);
  const theme = useThemeChanges();
  const height = lanes * LANE + AXIS;

  useEffect(() => {
    const element = canvas.current!;
    const watch = new ResizeObserver(() => setWidth(element.clientWidth));
    watch.observe(element);
    behaviour
      .scaleExtent([1, MOST_ZOOM])
      // Without a key the wheel scrolls the page, as everywhere else.
      .filter((event: WheelEvent & MouseEvent) => (event.type === "wheel" ? event.ctrlKey || event.metaKey || event.shiftKey : !event.button))
      .on("zoom", (event: D3ZoomEvent<HTMLCanvasElement, unknown>) => setView(event.transform));
    select(element).call(behaviour).on("dblclick.zoom", null);
    return () => watch.disconnect();
  }, []);

  useEffect(() => {
    behaviour.extent([[0, 0], [width, height]]).translateExtent([[0, 0], [width, height]]);
  }, [width, height]);

  const scale = view.rescaleX(scaleLinear([begin, end], [0, Math.max(width, 1)]));

  useEffect(() => {
    const element = canvas.current!;
    const context = element.getContext("2d")!;
    const ratio = devicePixelRatio || 1;
    element.width = width * ratio;
    element.height = height * ratio;
    context.scale(ratio, ratio);
    const line = color("line");
    const dim = color("dim");
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    const ticks = scale.ticks(Math.max(2, Math.floor(width / 110)));
    for (const tick of ticks) {
      const x = Math.round(scale(tick)) + 0.5;
      context.fillStyle = line;
      context.fillRect(x, AXIS - 4, 1, height);
      context.fillStyle = dim;
      context.fillText(duration(tick - begin), x + 4, AXIS / 2 - 2);
    }
    const [good, fill, ink, critical] = [color("good"), color("good-fill"), color("ink"), color("critical")];
    for (const node of bars) {
      const left = scale(node.start!);
      const right = scale(node.start! + node.seconds);
      if (right < 0 || left > width) continue;
      const x = Math.max(left, -2);
      const wide = Math.max(1, Math.min(right, width + 2) - x - (right - left > 3 ? 1 : 0));
      const y = AXIS + node.lane! * LANE + 2;
      const isTest = TESTS.has(node.type);
      const shade = node.status === "success" ? (isTest ? fill : good) : color(STATUS_COLORS[node.status ?? ""] ?? "dim");
      context.fillStyle = shade;
      context.fillRect(x, y + (isTest ? 4 : 0), wide, LANE - 5 - (isTest ? 8 : 0));
      if (report.critical.has(node.index)) {
        context.fillStyle = critical;
        context.fillRect(x, y + LANE - 5, wide, 3);
      }
      if (wide > 46 && !isTest) {
        context.save();
        context.beginPath();
        context.rect(x, y, wide - 4, LANE);
        context.clip();
        context.fillStyle = color("on-status");
        context.fillText(node.name.slice(0, 80), x + 5, y + LANE / 2 - 2);
        context.restore();
      }
    }
    if (over) {
      context.strokeStyle = ink;
      context.strokeRect(scale(over.node.start!) - 0.5, AXIS + over.node.lane! * LANE + 1.5, Math.max(2, scale(over.node.start! + over.node.seconds) - scale(over.node.start!)), LANE - 4);
    }
  }, [bars, width, height, view, over, theme]);

  const at = (event: MouseEvent): Node | null => {
    const box = canvas.current!.getBoundingClientRect();
    const x = event.clientX - box.left;
    const lane = Math.floor((event.clientY - box.top - AXIS) / LANE);
    let best: Node | null = null;
    for (const node of bars) {
      if (node.lane === lane && scale(node.start!) - 2 <= x && scale(node.start! + node.seconds) + 2 >= x) best = node;
    }
    return best;
  };
  const turn = (action: "in" | "out" | "left" | "right" | "all") => {
    const chosen = select(canvas.current!);
    if (action === "all") chosen.call(behaviour.transform, zoomIdentity);
    else if (action === "in" || action === "out") chosen.call(behaviour.scaleBy, action === "in" ? 2 : 0.5);
    else chosen.call(behaviour.translateBy, ((action === "left" ? 1 : -1) * width) / 4 / view.k, 0);
  };
  const keys: Record<string, () => void> = {
    "+": () => turn("in"),
    "=": () => turn("in"),
    "-": () => turn("out"),
    "0": () => turn("all"),
    ArrowLeft: () => turn("left"),
    ArrowRight: () => turn("right"),
  };

  if (!bars.length) return <p class="empty">No node ran, so there is nothing to draw.</p>;
  return (
    <div class="timeline">
      <div class="tools">
        <button type="button" onClick={() => turn("in")}>Closer</button>
        <button type="button" onClick={() => turn("out")}>Further</button>
        <button type="button" onClick={() => turn("left")} aria-label="Earlier">←</button>
        <button type="button" onClick={() => turn("right")} aria-label="Later">→</button>
        <button type="button" onClick={() => turn("all")}>Whole run</button>
        <span class="legend">
          <i class="critical" /> critical path <i class="success" /> model <i class="success thin" /> test
        </span>
      </div>
      <div class="canvas">
        <canvas
          ref={canvas}
          tabIndex={0}
          role="img"
          aria-label={`Timeline of ${bars.length} nodes on ${lanes} threads over ${duration(end - begin)}; the table of nodes below has the same times. Plus and minus look closer and further, arrows move, 0 shows all.`}
          class="lanes"
          onKeyDown={(event) => {
            const action = keys[event.key];
            if (!action || event.ctrlKey || event.metaKey) return;
            event.preventDefault();
            action();
          }}
          onMouseMove={(event) => {
            const node = at(event);
            setOver(node && { node, x: event.offsetX, y: event.offsetY });
          }}
          onMouseLeave={() => setOver(null)}
          onClick={(event) => {
            const node = at(event);
            if (node) onChoose(node);
          }}
        />
        <Height of={canvas} to={height} />
        {over && (
          <div class="tip" ref={(tip) => place(tip, over.x, over.y, width)}>
            <strong><T>{over.node.name}</T></strong>
            <br />
            {over.node.status?.replace("_", " ")}, {duration(over.node.seconds)}
            {over.node.usual !== null && <>, usually {duration(over.node.usual)}</>}
          </div>
        )}
      </div>
    </div>
  );
}

function Height({ of, to }: { of: { current: HTMLElement | null }; to: number }) {
  useEffect(() => of.current?.style.setProperty("height", `${to}px`), [to]);
  return null;
}

function place(tip: HTMLElement | null, x: number, y: number, width: number): void {
  if (!tip) return;
  tip.style.left = `${Math.max(0, Math.min(x + 12, width - tip.offsetWidth - 4))}px`;
  tip.style.top = `${y + 16}px`;
}
