// `node edge_driver.mjs CODE.mjs`: answers each line on standard input, a request of CloudFront's function, with a line.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

globalThis.keys = {};
const { handler } = await import(pathToFileURL(process.argv[2]));

for await (const line of createInterface({ input: process.stdin })) {
  const { event, keys } = JSON.parse(line);
  globalThis.keys = keys;
  console.log(JSON.stringify(await handler(event)));
}
