/** The two cookies: the session, which CloudFront checks, and what a sign-in that has begun must remember. */
import { createHash, hkdfSync } from "node:crypto";

import { EncryptJWT, SignJWT, jwtDecrypt } from "jose";

import { currentSecret, forget } from "./secrets.ts";

export const SESSION_COOKIE = "__Host-pages-session";
export const LOGIN_COOKIE = "__Host-pages-login";
export const LOGIN_SECONDS = 600;

const SESSION_ISSUER = "pages";
const LOGIN_ISSUER = "pages-login";

/** What is between a sign-in's beginning and its end. */
export interface Login {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
  readonly returnTo: string;
}

interface SessionKey {
  readonly id: string;
  readonly text: string;
}

/** Thrown while the session key has not been made: right after a first deployment. */
export class NotReady extends Error {}

async function sessionKey(arn: string): Promise<SessionKey> {
  const { text, versionId } = await currentSecret(arn);
  // What the secret was created with is not among CloudFront's keys; only the first rotation puts one there.
  if (!/^[0-9a-f]{64}$/.test(text)) {
    forget(arn);
    throw new NotReady("the session key has not been made yet");
  }
  return { id: versionId, text };
}

function loginKey(key: SessionKey): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", key.text, "", "pages-login", 32));
}

/** A session of `host` for `seconds`, in the form that src/edge.js reads. */
export async function sealSession(keyArn: string, host: string, subject: string, seconds: number): Promise<string> {
  const key = await sessionKey(keyArn);
  return await new SignJWT({})
    .setProtectedHeader({ alg: "HS256", kid: key.id })
    .setIssuer(SESSION_ISSUER)
    .setAudience(host)
    // Enough to tell sessions apart in a log, and no personal data in a cookie.
    .setSubject(createHash("sha256").update(subject).digest("base64url").slice(0, 16))
    .setIssuedAt()
    .setExpirationTime(`${seconds}s`)
    .sign(new TextEncoder().encode(key.text));
}

export async function sealLogin(keyArn: string, host: string, login: Login): Promise<string> {
  const key = await sessionKey(keyArn);
  return await new EncryptJWT({ ...login })
    .setProtectedHeader({ alg: "dir", enc: "A256GCM" })
    .setIssuer(LOGIN_ISSUER)
    .setAudience(host)
    .setIssuedAt()
    .setExpirationTime(`${LOGIN_SECONDS}s`)
    .encrypt(loginKey(key));
}

/** The login that `token` holds; throws an error of jose's if it is forged, expired or of another host. */
export async function openLogin(keyArn: string, host: string, token: string): Promise<Login> {
  const key = await sessionKey(keyArn);
  const { payload } = await jwtDecrypt<Login>(token, loginKey(key), {
    issuer: LOGIN_ISSUER,
    audience: host,
    keyManagementAlgorithms: ["dir"],
    contentEncryptionAlgorithms: ["A256GCM"],
  });
  return payload;
}

export function cookie(name: string, value: string, maxAgeSeconds: number): string {
  return `${name}=${value}; Path=/; Max-Age=${maxAgeSeconds}; HttpOnly; Secure; SameSite=Lax`;
}
