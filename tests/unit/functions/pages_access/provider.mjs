// `node provider.mjs CONFIG`: a real OpenID Connect provider (npm: oidc-provider) that lets in whom the browser's x-test-user names,
// and that can be told to spoil the next ID token.
import { readFileSync } from "node:fs";
import https from "node:https";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const config = JSON.parse(process.argv[2]);
const require = createRequire(pathToFileURL(`${config.package}/package.json`));
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));
const { SignJWT, decodeJwt, exportJWK, generateKeyPair } = await import(pathToFileURL(require.resolve("jose")));

const own = await generateKeyPair("RS256", { extractable: true });
const other = await generateKeyPair("RS256", { extractable: true });
const key = { ...(await exportJWK(own.privateKey)), kid: "own", alg: "RS256", use: "sig" };

let spoil = null;
const server = https.createServer({ key: readFileSync(config.tlsKey), cert: readFileSync(config.tlsCertificate) });
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `https://localhost:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: config.clientId,
      client_secret: config.clientSecret,
      redirect_uris: [`https://${config.host}/auth/callback`],
      post_logout_redirect_uris: [`https://${config.host}/auth/signed-out`],
    },
  ],
  jwks: { keys: [key] },
  cookies: { keys: ["a provider of tests"] },
  pkce: { required: () => true },
  conformIdTokenClaims: false,
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["groups"] },
  features: { devInteractions: { enabled: false } },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, ...config.users[sub] }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
});

provider.use(async (ctx, next) => {
  if (ctx.path === "/test/spoil") {
    spoil = JSON.parse(ctx.query.how);
    ctx.body = "";
    return;
  }
  if (ctx.path.startsWith("/interaction/")) {
    const { params, prompt } = await provider.interactionDetails(ctx.req, ctx.res);
    const accountId = ctx.get("x-test-user");
    const result = { login: { accountId } };
    if (prompt.name === "consent") {
      const grant = new provider.Grant({ accountId, clientId: params.client_id });
      grant.addOIDCScope(params.scope);
      result.consent = { grantId: await grant.save() };
    }
    ctx.respond = false;
    await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: true });
    return;
  }
  await next();
  if (ctx.path === "/token" && spoil && ctx.body?.id_token) {
    const { claims = {}, withKey = "own", unsigned = false } = spoil;
    spoil = null;
    const changed = { ...decodeJwt(ctx.body.id_token), ...claims };
    const encoded = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const id_token = unsigned
      ? `${encoded({ alg: "none" })}.${encoded(changed)}.`
      : await new SignJWT(changed)
          .setProtectedHeader({ alg: "RS256", kid: "own" })
          .sign(withKey === "own" ? own.privateKey : other.privateKey);
    ctx.body = { ...ctx.body, id_token };
  }
});

server.on("request", provider.callback());
console.log(JSON.stringify({ issuer }));
process.stdin.on("end", () => process.exit(0)).resume();
