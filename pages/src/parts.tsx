/** What several pages share: isolated texts, outcomes, strips, the switch between light and dark. */

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

import { words } from "./format";

/** A text of others in its own direction: a right-to-left mark in it ends where it ends. */
export function T({ children }: { children: string }) {
  return <bdi>{children}</bdi>;
}

const MARKS: Record<string, string> = {
  success: "✓",
  warn: "!",
  fail: "✕",
  error: "✕",
  failed: "✕",
  skipped: "–",
  not_run: "–",
  interrupted: "■",
  killed: "■",
  running: "▶",
};

/** An outcome as word, colour and sign: never by colour alone. */
export function State({ of }: { of: string }) {
  return (
    <span class={`state ${of}`}>
      <span aria-hidden="true">{MARKS[of] ?? "·"}</span> {words(of)}
    </span>
  );
}

export function Section({ id, title, note, children }: { id: string; title: string; note?: ComponentChildren; children: ComponentChildren }) {
  return (
    <section id={id} aria-labelledby={`${id}-title`}>
      <div class="section-head">
        <h2 id={`${id}-title`}>{title}</h2>
        {note && <p class="note">{note}</p>}
      </div>
      {children}
    </section>
  );
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="fact">
      <dt><T>{name}</T></dt>
      <dd>{children}</dd>
    </div>
  );
}

const LETTERS: Record<string, string> = { s: "success", w: "warn", f: "fail", e: "error", k: "skipped", n: "not_run" };

/** Earlier endings of a node, oldest first. */
export function Past({ statuses }: { statuses: string }) {
  const names = [...statuses].map((letter) => LETTERS[letter] ?? "not_run");
  const bad = names.filter((name) => name === "fail" || name === "error").length;
  return (
    <span class="past" role="img" aria-label={`${bad} of the last ${names.length} runs failed`}>
      {names.map((name) => (
        <i class={name} />
      ))}
    </span>
  );
}

const CHANGED = "theme-changed";

/** Tells when colours change, so that canvases are drawn anew. */
export function useThemeChanges(): number {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const media = matchMedia("(prefers-color-scheme: dark)");
    const changed = () => setVersion((before) => before + 1);
    media.addEventListener("change", changed);
    addEventListener(CHANGED, changed);
    return () => {
      media.removeEventListener("change", changed);
      removeEventListener(CHANGED, changed);
    };
  }, []);
  return version;
}

export function ThemeSwitch() {
  const [dark, setDark] = useState(matchMedia("(prefers-color-scheme: dark)").matches);
  const turn = () => {
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    setDark(!dark);
    dispatchEvent(new Event(CHANGED));
  };
  return (
    <button type="button" class="quiet" onClick={turn} aria-pressed={dark}>
      Dark
    </button>
  );
}

export function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export const STATUS_COLORS: Record<string, string> = {
  success: "good",
  warn: "warn",
  fail: "bad",
  error: "bad",
  skipped: "dim",
  not_run: "dim",
};
