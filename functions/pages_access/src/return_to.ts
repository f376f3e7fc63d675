/** Where a sign-in may lead: to a page of this host, and nowhere else. */

const HOME = "/";

/** `wanted` as a path of this host; "/" for anything that a browser could read as another host, or as the sign-in itself. */
export function returnTo(wanted: string | null): string {
  if (!wanted?.startsWith("/") || wanted.length > 2000) return HOME;
  // Read as browsers read it, which take "\" for "/" and leave out tabs and line ends.
  const base = "https://pages.invalid";
  let url: URL;
  try {
    url = new URL(wanted, base);
  } catch {
    return HOME;
  }
  if (url.origin !== base || url.pathname.startsWith("//") || url.pathname.startsWith("/auth/")) return HOME;
  return `${url.pathname}${url.search}`;
}
