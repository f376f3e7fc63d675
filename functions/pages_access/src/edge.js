// CloudFront calls this for every request, before its cache and before any origin. What is not let in here is not answered.
//
// It is written for CloudFront Functions' own JavaScript (runtime 2.0: ECMAScript 5.1 and parts of later ones; no classes, spread
// or for-of), and with its settings must stay below 10 kB. constructs_lib/edge_function.py puts the settings in.
import crypto from "crypto";
import cf from "cloudfront";

const SETTINGS = "@@SETTINGS@@";

const SESSION_COOKIE = "__Host-pages-session";
// What a browser without a session may ask for, spelled exactly so: CloudFront chooses the origin by a path of which it has removed
// "/../", and this function sees the path as it was sent.
const OPEN_PATHS = ["/auth/login", "/auth/callback", "/auth/sign-out", "/auth/signed-out"];
const LONGEST_RETURN = 1500;
// Clocks differ.
const SECONDS_EARLY = 60;

async function handler(event) {
  const request = event.request;
  const host = SETTINGS.domain || event.context.distributionDomainName;
  const headers = request.headers;

  if (headers["cloudfront-viewer-tls"] && !/^TLSv1\.[23]/.test(headers["cloudfront-viewer-tls"].value)) {
    return refused(403, "Forbidden", "These pages need TLS 1.2 or newer.");
  }
  if (SETTINGS.networks && !isInside(event.viewer.ip, SETTINGS.networks)) {
    return refused(403, "Forbidden", "These pages are not open to your network.");
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    return refused(405, "Method Not Allowed", "These pages can only be read.");
  }
  if (!isPlain(request.uri)) {
    return refused(400, "Bad Request", "This is no address of a page.");
  }
  if (headers.host && headers.host.value.toLowerCase() !== host) {
    return redirect(`https://${host}${request.uri}${query(request.querystring)}`);
  }
  // Whatever the browser says of itself: the sign-in function trusts this header.
  headers["x-pages-host"] = { value: host };
  if (SETTINGS.signIn) {
    if (OPEN_PATHS.indexOf(request.uri) >= 0) {
      return request;
    }
    const cookie = request.cookies[SESSION_COOKIE];
    if (!cookie || !(await isSession(cookie.value, host))) {
      return signIn(request);
    }
  }
  // No page by itself: what the first page loads lies beside it.
  if (request.uri === "/") {
    return redirect(SETTINGS.firstPage);
  }
  // S3 reads a plus sign in a path as a space, and Airflow's run ids have one in their time zone.
  request.uri = request.uri.replace(/\+/g, "%2B");
  return request;
}

function signIn(request) {
  const mode = request.headers["sec-fetch-mode"];
  if (mode && mode.value !== "navigate") {
    // A script that loads data cannot follow to another host's form.
    return refused(401, "Unauthorized", "Your session has ended. Load the page again to sign in.");
  }
  const wanted = request.uri + query(request.querystring);
  return redirect(`/auth/login?return_to=${encodeURIComponent(wanted.length > LONGEST_RETURN ? "/" : wanted)}`);
}

async function isSession(token, host) {
  const parts = token.split(".");
  if (parts.length !== 3) {
    return false;
  }
  let key;
  let claims;
  try {
    const header = JSON.parse(decoded(parts[0]));
    if (header.alg !== "HS256" || !/^[0-9a-zA-Z-]{32,64}$/.test(header.kid)) {
      return false;
    }
    // Throws for a key that is not, or no longer, there.
    key = await cf.kvs().get(header.kid);
    claims = JSON.parse(decoded(parts[1]));
  } catch (error) {
    return false;
  }
  const expected = crypto.createHmac("sha256", key).update(`${parts[0]}.${parts[1]}`).digest("base64url");
  if (!isSame(expected, parts[2])) {
    return false;
  }
  const now = Date.now() / 1000;
  return (
    claims.iss === "pages" &&
    claims.aud === host &&
    typeof claims.exp === "number" &&
    claims.exp > now &&
    typeof claims.iat === "number" &&
    claims.iat < now + SECONDS_EARLY
  );
}

function decoded(text) {
  return Buffer.from(text, "base64url").toString("utf8");
}

// Takes as long for a first wrong character as for a last one.
function isSame(expected, got) {
  let difference = expected.length ^ got.length;
  for (let i = 0; i < expected.length; i++) {
    difference |= expected.charCodeAt(i) ^ got.charCodeAt(i % (got.length || 1));
  }
  return difference === 0;
}

// Without what another reader of the path could take for another path.
function isPlain(uri) {
  return uri.charAt(0) === "/" && !/\/\/|\\|\/\.{1,2}(\/|$)|%2e|%2f|%5c|%25|%[01][0-9a-f]|%7f/i.test(uri);
}

function query(querystring) {
  const pairs = [];
  for (const name in querystring) {
    const values = querystring[name].multiValue || [querystring[name]];
    for (let i = 0; i < values.length; i++) {
      pairs.push(values[i].value === "" ? name : `${name}=${values[i].value}`);
    }
  }
  return pairs.length ? `?${pairs.join("&")}` : "";
}

// Networks come as ["32 hexadecimal digits", prefix length]; IPv4 ones as ::ffff:0:0/96, as an IPv4 address is written in IPv6.
function isInside(ip, networks) {
  const bits = addressBits(ip);
  if (bits === null) {
    return false;
  }
  for (let i = 0; i < networks.length; i++) {
    if (bits.slice(0, networks[i][1]) === toBits(networks[i][0]).slice(0, networks[i][1])) {
      return true;
    }
  }
  return false;
}

function addressBits(ip) {
  let text = ip.toLowerCase();
  const last = text.slice(text.lastIndexOf(":") + 1);
  if (last.indexOf(".") >= 0) {
    const bytes = last.split(".");
    if (bytes.length !== 4) {
      return null;
    }
    let hex = "";
    for (let i = 0; i < 4; i++) {
      if (!/^(0|[1-9][0-9]{0,2})$/.test(bytes[i]) || Number(bytes[i]) > 255) {
        return null;
      }
      hex += padded(Number(bytes[i]).toString(16), 2);
    }
    text = `${text === last ? "::ffff:" : text.slice(0, text.lastIndexOf(":") + 1)}${hex.slice(0, 4)}:${hex.slice(4)}`;
  }
  const halves = text.split("::");
  const head = halves[0] ? halves[0].split(":") : [];
  const tail = halves[1] ? halves[1].split(":") : [];
  const missing = 8 - head.length - tail.length;
  if (halves.length > 2 || (halves.length === 2 ? missing < 1 : missing !== 0)) {
    return null;
  }
  const groups = head.concat(Array(missing).fill("0"), tail);
  let address = "";
  for (let i = 0; i < 8; i++) {
    if (!/^[0-9a-f]{1,4}$/.test(groups[i])) {
      return null;
    }
    address += padded(groups[i], 4);
  }
  return toBits(address);
}

function toBits(hex) {
  let bits = "";
  for (let i = 0; i < hex.length; i++) {
    bits += padded(parseInt(hex.charAt(i), 16).toString(2), 4);
  }
  return bits;
}

function padded(text, length) {
  return "0".repeat(length - text.length) + text;
}

function redirect(location) {
  return { statusCode: 302, statusDescription: "Found", headers: fixed({ location: { value: location } }) };
}

function refused(statusCode, statusDescription, sentence) {
  return {
    statusCode: statusCode,
    statusDescription: statusDescription,
    headers: fixed({ "content-type": { value: "text/plain; charset=utf-8" } }),
    body: { encoding: "text", data: `${sentence}\n` },
  };
}

// CloudFront puts the headers of a behaviour's policy on what an origin answers, and on this function's own answers too; those that
// matter most do not depend on it.
function fixed(headers) {
  headers["cache-control"] = { value: "no-store" };
  headers["x-content-type-options"] = { value: "nosniff" };
  headers["content-security-policy"] = { value: "default-src 'none'; frame-ancestors 'none'" };
  return headers;
}
