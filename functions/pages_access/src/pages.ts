/** What the sign-in function answers. */

export interface Answer {
  statusCode: number;
  headers: Record<string, string>;
  cookies?: string[];
  body?: string;
}

const HEADERS = { "cache-control": "no-store", "referrer-policy": "no-referrer" };

export function redirect(location: string, cookies: string[]): Answer {
  return { statusCode: 302, headers: { ...HEADERS, location }, cookies };
}

/** A page of fixed words: nothing that came with a request is repeated. */
export function page(statusCode: number, title: string, sentence: string, cookies: string[] = []): Answer {
  const body = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>${title}</title></head>
<body><main><h1>${title}</h1><p>${sentence}</p><p><a href="/">To the pages</a></p></main></body>
</html>
`;
  return {
    statusCode,
    headers: {
      ...HEADERS,
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      "x-content-type-options": "nosniff",
    },
    cookies,
    body,
  };
}
