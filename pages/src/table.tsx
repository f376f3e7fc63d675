/** A table of any length: only the rows in sight are in the page. */

import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

export interface Column<Row> {
  name: string;
  title: string;
  /** What the column is sorted by; a column without is not. */
  by?: (row: Row) => number | string;
  show: (row: Row) => ComponentChildren;
  number?: boolean;
  wide?: boolean;
}

const ROW_HEIGHT = 33;
const SPARE_ROWS = 12;
const SHOWN_ROWS = 16;

export function Table<Row>(props: { label: string; rows: readonly Row[]; columns: readonly Column<Row>[]; keyOf: (row: Row) => string | number }) {
  const { rows, columns } = props;
  const [sort, setSort] = useState<{ name: string; down: boolean } | null>(null);
  const [top, setTop] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const sorted = useMemo(() => {
    const by = columns.find((column) => column.name === sort?.name)?.by;
    if (!by || !sort) return rows;
    const sign = sort.down ? -1 : 1;
    return [...rows].sort((a, b) => {
      const [x, y] = [by(a), by(b)];
      return x < y ? -sign : x > y ? sign : 0;
    });
  }, [rows, sort]);
  useEffect(() => {
    if (box.current) box.current.scrollTop = 0;
    setTop(0);
  }, [rows, sort]);
  const first = Math.max(0, Math.floor(top / ROW_HEIGHT) - SPARE_ROWS);
  const last = Math.min(sorted.length, first + SHOWN_ROWS + 2 * SPARE_ROWS);
  return (
    <div
      class="scroll"
      ref={box}
      tabIndex={0}
      role="region"
      aria-label={`${props.label}, table`}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
    >
      <table aria-rowcount={sorted.length + 1}>
        <thead>
          <tr>
            {columns.map((column) => (
              <th
                scope="col"
                class={column.number ? "number" : undefined}
                aria-sort={sort?.name === column.name ? (sort.down ? "descending" : "ascending") : undefined}
              >
                {column.by ? (
                  <button type="button" onClick={() => setSort({ name: column.name, down: sort?.name === column.name ? !sort.down : !!column.number })}>
                    {column.title}
                    <span aria-hidden="true">{sort?.name === column.name ? (sort.down ? " ↓" : " ↑") : ""}</span>
                  </button>
                ) : (
                  column.title
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {first > 0 && <Gap rows={first} columns={columns.length} />}
          {sorted.slice(first, last).map((row, at) => (
            <tr key={props.keyOf(row)} aria-rowindex={first + at + 2}>
              {columns.map((column) => (
                <td class={column.number ? "number" : column.wide ? "wide" : undefined}>{column.show(row)}</td>
              ))}
            </tr>
          ))}
          {last < sorted.length && <Gap rows={sorted.length - last} columns={columns.length} />}
        </tbody>
      </table>
    </div>
  );
}

function Gap({ rows, columns }: { rows: number; columns: number }) {
  return (
    <tr class="gap" aria-hidden="true">
      <td colSpan={columns} ref={(cell) => cell?.style.setProperty("height", `${rows * ROW_HEIGHT}px`)} />
    </tr>
  );
}
