/** Times, numbers and words as people read them. */

export function duration(seconds: number | null | undefined): string {
  if (seconds == null) return "";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const total = Math.round(seconds);
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor((total % 3600) / 60);
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${total % 60} s`;
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function words(name: string): string {
  return name.replaceAll("_", " ");
}

/** "2026-11-22 05:01 UTC", whatever the reader's own zone is: a run is talked about by several people. */
export function time(iso: string | null | undefined): string {
  if (!iso) return "";
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`;
}

export function ago(iso: string, now: number): string {
  const minutes = Math.round((now - Date.parse(iso)) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${count(minutes, "minute")} ago`;
  if (minutes < 48 * 60) return `${count(Math.round(minutes / 60), "hour")} ago`;
  return `${count(Math.round(minutes / 1440), "day")} ago`;
}

export function until(moment: Date, now: number): string {
  const minutes = Math.round((moment.getTime() - now) / 60_000);
  if (minutes < 60) return `in ${count(Math.max(minutes, 0), "minute")}`;
  if (minutes < 48 * 60) return `in ${count(Math.round(minutes / 60), "hour")}`;
  return `in ${count(Math.round(minutes / 1440), "day")}`;
}

export function median(values: readonly number[]): number | null {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Only addresses of pages: a "javascript:" address would run in ours. */
export function safeLink(text: string): string | null {
  return /^https?:\/\//i.test(text) ? text : null;
}
