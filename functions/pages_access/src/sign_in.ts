/**
 * Sign-in through an OpenID Connect provider: authorization code flow with PKCE, state and nonce.
 *
 * It is called by CloudFront alone, through a function URL that asks for CloudFront's signature. Log lines hold no code, token,
 * cookie or secret.
 */
import * as oidc from "openid-client";

import { isAllowed } from "./membership.ts";
import { type Answer, page, redirect } from "./pages.ts";
import { returnTo } from "./return_to.ts";
import { currentSecret } from "./secrets.ts";
import {
  LOGIN_COOKIE,
  LOGIN_SECONDS,
  type Login,
  NotReady,
  SESSION_COOKIE,
  cookie,
  openLogin,
  sealLogin,
  sealSession,
} from "./sessions.ts";
import { readSettings } from "./settings.ts";

/** What Lambda gives of a request to a function URL. */
export interface Request {
  readonly rawPath: string;
  readonly rawQueryString: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly cookies?: readonly string[];
}

const SETTINGS = readSettings(process.env);
const PROVIDER_SECONDS = 10;
const NO_LOGIN = cookie(LOGIN_COOKIE, "", 0);
const NO_SESSION = cookie(SESSION_COOKIE, "", 0);
const AGAIN = page(
  400,
  "Sign-in did not work",
  "It took too long, was begun in another window, or was not begun here. Go to the pages to begin again.",
  [NO_LOGIN],
);

export async function handler(request: Request): Promise<Answer> {
  // CloudFront's function sets it, over whatever the browser sent.
  const host = request.headers["x-pages-host"];
  if (!host) return page(400, "Bad request", "This address is for CloudFront alone.");
  try {
    switch (request.rawPath) {
      case "/auth/login":
        return await begin(host, new URLSearchParams(request.rawQueryString).get("return_to"));
      case "/auth/callback":
        return await finish(host, request);
      case "/auth/sign-out":
        return await signOut(host, request);
      case "/auth/signed-out":
        return page(200, "Signed out", "You are signed out of these pages.");
      default:
        return page(404, "Not found", "There is nothing at this address.");
    }
  } catch (error) {
    log("failed", { path: request.rawPath, ...nameOf(error) });
    if (error instanceof NotReady) return page(503, "Not ready yet", "Sign-in is being set up. Try again in two minutes.");
    return page(502, "Sign-in is not available", "The log of the sign-in function says why.");
  }
}

async function begin(host: string, wanted: string | null): Promise<Answer> {
  const provider = await discover();
  const login: Login = {
    state: oidc.randomState(),
    nonce: oidc.randomNonce(),
    verifier: oidc.randomPKCECodeVerifier(),
    returnTo: returnTo(wanted),
  };
  const address = oidc.buildAuthorizationUrl(provider, {
    redirect_uri: `https://${host}/auth/callback`,
    scope: SETTINGS.scope,
    code_challenge: await oidc.calculatePKCECodeChallenge(login.verifier),
    code_challenge_method: "S256",
    state: login.state,
    nonce: login.nonce,
  });
  const sealed = await sealLogin(SETTINGS.sessionKeyArn, host, login);
  return redirect(address.href, [cookie(LOGIN_COOKIE, sealed, LOGIN_SECONDS)]);
}

async function finish(host: string, request: Request): Promise<Answer> {
  const sealed = readCookie(request, LOGIN_COOKIE);
  if (!sealed) return AGAIN;
  let login: Login;
  try {
    login = await openLogin(SETTINGS.sessionKeyArn, host, sealed);
  } catch (error) {
    if (error instanceof NotReady) throw error;
    log("refused a login cookie", nameOf(error));
    return AGAIN;
  }
  let claims: Readonly<Record<string, unknown>> & { sub: string };
  try {
    const tokens = await oidc.authorizationCodeGrant(
      await discover(),
      new URL(`https://${host}/auth/callback?${request.rawQueryString}`),
      {
        pkceCodeVerifier: login.verifier,
        expectedState: login.state,
        expectedNonce: login.nonce,
        idTokenExpected: true,
      },
    );
    const verified = tokens.claims();
    if (!verified) throw new Error("the provider gave no ID token");
    claims = verified;
  } catch (error) {
    log("refused an answer of the provider", nameOf(error));
    return AGAIN;
  }
  if (!isAllowed(claims, SETTINGS)) {
    log("refused a user", { sub: claims.sub });
    // Not 403, in whose place CloudFront shows the page of what is not there.
    return page(401, "Not for you", "You are known, but these pages are not open to your group.", [NO_LOGIN]);
  }
  log("signed in", { sub: claims.sub });
  const session = await sealSession(SETTINGS.sessionKeyArn, host, claims.sub, SETTINGS.sessionSeconds);
  return redirect(login.returnTo, [cookie(SESSION_COOKIE, session, SETTINGS.sessionSeconds), NO_LOGIN]);
}

async function signOut(host: string, request: Request): Promise<Answer> {
  if (request.headers["sec-fetch-site"] === "cross-site") {
    return page(400, "Still signed in", "Another site wanted to sign you out.");
  }
  const cookies = [NO_SESSION, NO_LOGIN];
  const provider = await discover();
  if (!provider.serverMetadata().end_session_endpoint) {
    return redirect("/auth/signed-out", cookies);
  }
  const address = oidc.buildEndSessionUrl(provider, { post_logout_redirect_uri: `https://${host}/auth/signed-out` });
  return redirect(address.href, cookies);
}

async function discover(): Promise<oidc.Configuration> {
  const secret = await currentSecret(SETTINGS.clientSecretArn);
  if (known && known.secret === secret) return known.provider;
  const provider = await oidc.discovery(
    SETTINGS.issuer,
    SETTINGS.clientId,
    undefined,
    oidc.ClientSecretBasic(clientSecret(secret.text)),
    // By default a token that came over TLS is believed without a look at its signature.
    { execute: [oidc.enableNonRepudiationChecks], timeout: PROVIDER_SECONDS },
  );
  known = { secret, provider };
  return provider;
}

let known: { secret: object; provider: oidc.Configuration } | undefined;

/** The secret as providers' consoles give it, or as the key client_secret of an object. */
function clientSecret(text: string): string {
  if (!text.startsWith("{")) return text;
  const value = (JSON.parse(text) as Record<string, unknown>)["client_secret"];
  if (typeof value !== "string") throw new Error("the client's secret must be text, or an object with client_secret");
  return value;
}

function readCookie(request: Request, name: string): string | undefined {
  return request.cookies?.find((each) => each.startsWith(`${name}=`))?.slice(name.length + 1);
}

/** What may be logged of an error: its kind. Messages and causes can hold what the provider or the browser sent. */
function nameOf(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { error: typeof error };
  const { code, error: answered } = error as Error & { code?: unknown; error?: unknown };
  const isWord = (value: unknown): value is string => typeof value === "string" && /^[A-Za-z0-9_.-]{1,60}$/.test(value);
  return {
    error: error.name,
    ...(isWord(code) ? { code } : {}),
    ...(isWord(answered) ? { answered } : {}),
  };
}

function log(message: string, facts: Record<string, unknown>): void {
  console.log(JSON.stringify({ message, ...facts }));
}
