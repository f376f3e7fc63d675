// `node cloud.mjs CONFIG`: what of AWS is around the sign-in: Secrets Manager, CloudFront's key value store, and CloudFront itself,
// which calls its function, and then the sign-in function or the bucket. The functions are those that are deployed.
import { randomUUID } from "node:crypto";
import dns from "node:dns";
import http from "node:http";
import { pathToFileURL } from "node:url";

const config = JSON.parse(process.argv[2]);
const { host, secrets, pages } = config;
const asked = [];
globalThis.keys = {};

// The SDK puts the account's id before the name of the key value store's host.
const lookup = dns.lookup;
dns.lookup = (name, ...rest) => lookup(name.endsWith(".localhost") ? "127.0.0.1" : name, ...rest);

async function listen(handle) {
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () =>
      handle(request, Buffer.concat(chunks).toString(), response).catch((error) => {
        response.writeHead(500).end(String(error.stack));
      }),
    );
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${server.address().port}`;
}

function json(response, status, body, headers = {}) {
  response.writeHead(status, { "content-type": "application/x-amz-json-1.1", ...headers }).end(JSON.stringify(body));
}

function version(secret, { VersionId, VersionStage }) {
  const stage = VersionStage ?? "AWSCURRENT";
  return Object.entries(secret).find(([id, { stages }]) => (VersionId ?? id) === id && (stages.includes(stage) || (VersionId && !VersionStage)));
}

const secretsManager = await listen(async (request, body, response) => {
  const call = request.headers["x-amz-target"].split(".")[1];
  const input = JSON.parse(body);
  const secret = secrets[input.SecretId];
  asked.push(`${call} ${input.SecretId}`);
  if (call === "GetSecretValue") {
    const found = secret && version(secret, input);
    if (!found) return json(response, 400, { __type: "ResourceNotFoundException", message: "no such version" });
    return json(response, 200, { ARN: input.SecretId, VersionId: found[0], SecretString: found[1].text });
  }
  if (call === "DescribeSecret") {
    const stages = Object.entries(secret).map(([id, value]) => [id, value.stages]);
    return json(response, 200, { VersionIdsToStages: Object.fromEntries(stages) });
  }
  if (call === "PutSecretValue") {
    secret[input.ClientRequestToken] = { text: input.SecretString, stages: input.VersionStages };
    return json(response, 200, {});
  }
  const { VersionStage: stage, MoveToVersionId: to, RemoveFromVersionId: from } = input;
  if (!secret[from].stages.includes(stage)) return json(response, 400, { __type: "InvalidParameterException" });
  for (const value of Object.values(secret)) value.stages = value.stages.filter((each) => each !== "AWSPREVIOUS");
  secret[from].stages = secret[from].stages.filter((each) => each !== stage).concat("AWSPREVIOUS");
  secret[to].stages = [stage];
  return json(response, 200, {});
});

let etag = "first";
const store = await listen(async (request, body, response) => {
  const call = `${request.method} ${request.url.split("?")[0].split("/").slice(3).join("/")}`;
  asked.push(`${call} ${request.headers.authorization.split(" ")[0]}`);
  if (call === "GET keys") {
    return json(response, 200, { Items: Object.entries(globalThis.keys).map(([Key, Value]) => ({ Key, Value })) });
  }
  if (call === "POST keys") {
    if (request.headers["if-match"] !== etag) return json(response, 409, { Message: "another version" });
    const { Puts = [], Deletes = [] } = JSON.parse(body);
    for (const { Key, Value } of Puts) globalThis.keys[Key] = Value;
    for (const { Key } of Deletes) delete globalThis.keys[Key];
    etag = randomUUID();
  }
  return json(response, 200, { KvsARN: config.store, ItemCount: 0, TotalSizeInBytes: 0, Created: 0 }, { etag });
});

Object.assign(process.env, config.environment, {
  AWS_REGION: "eu-west-1",
  AWS_ACCESS_KEY_ID: "key",
  AWS_SECRET_ACCESS_KEY: "secret",
  AWS_ENDPOINT_URL_SECRETS_MANAGER: secretsManager,
  AWS_ENDPOINT_URL_CLOUDFRONT_KEYVALUESTORE: store.replace("127.0.0.1", "localhost"),
  KEY_VALUE_STORE_ARN: config.store,
  PROPAGATION_SECONDS: "0",
});
const edge = await import(pathToFileURL(config.edge));
const signIn = await import(pathToFileURL(`${config.dist}/sign_in.mjs`));
const sessionKey = await import(pathToFileURL(`${config.dist}/session_key.mjs`));

async function answer(request) {
  const url = new URL(request.url, `https://${host}`);
  const path = request.url.split("?")[0];
  const values = (text, separator) => text.split(separator).filter(Boolean).map((pair) => [pair.split("=")[0].trim(), pair.split("=").slice(1).join("=")]);
  const called = await edge.handler({
    context: { distributionDomainName: host },
    viewer: { ip: "198.51.100.7" },
    request: {
      method: request.method,
      uri: path,
      querystring: Object.fromEntries(values(url.search.slice(1), "&").map(([name, value]) => [name, { value }])),
      headers: Object.fromEntries(Object.entries(request.headers).filter(([name]) => name !== "cookie").map(([name, value]) => [name, { value }])),
      cookies: Object.fromEntries(values(request.headers.cookie ?? "", ";").map(([name, value]) => [name, { value }])),
    },
  });
  if (called.statusCode) {
    const headers = Object.entries(called.headers).map(([name, { value }]) => [name, value]);
    return { statusCode: called.statusCode, headers: Object.fromEntries(headers), body: called.body?.data };
  }
  if (called.uri.startsWith("/auth/")) {
    // What the origin request policy lets through.
    const headers = Object.fromEntries(["x-pages-host", "sec-fetch-site"].map((name) => [name, called.headers[name]?.value]));
    const login = called.cookies["__Host-pages-login"];
    const answered = await signIn.handler({
      rawPath: called.uri,
      rawQueryString: url.search.slice(1),
      headers,
      cookies: login ? [`__Host-pages-login=${login.value}`] : [],
    });
    return { ...answered, isOrigins: true };
  }
  const page = pages[called.uri];
  return page === undefined ? { statusCode: 403, headers: {}, body: "AccessDenied", isOrigins: true } : { statusCode: 200, headers: {}, body: page };
}

// The distribution's error responses, which are for what an origin answers.
function withErrorPage(answer) {
  return answer.isOrigins && [403, 404].includes(answer.statusCode) ? { statusCode: 404, headers: {}, body: pages[config.notFound] } : answer;
}

const cloudFront = await listen(async (request, body, response) => {
  if (request.url === "/test/rotate") {
    for (const step of JSON.parse(body)) await sessionKey.handler(step);
    return json(response, 200, { keys: globalThis.keys, secrets, asked: asked.splice(0) });
  }
  const { statusCode, headers, cookies = [], body: text = "" } = withErrorPage(await answer(request));
  response.writeHead(statusCode, { ...headers, ...(cookies.length ? { "set-cookie": cookies } : {}) }).end(text);
});
console.log(JSON.stringify({ cloudFront }));
process.stdin.on("end", () => process.exit(0)).resume();
