// `node build.mjs [FOLDER]`: bundles the functions into FOLDER (default: dist), the same bytes each time.
import { readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const FOLDER = process.argv[2] ?? join(HERE, "dist");

rmSync(FOLDER, { recursive: true, force: true });
const result = await build({
  absWorkingDir: HERE,
  entryPoints: ["src/sign_in.ts", "src/session_key.ts"],
  bundle: true,
  splitting: true,
  minify: true,
  metafile: true,
  outdir: FOLDER,
  outExtension: { ".js": ".mjs" },
  format: "esm",
  platform: "node",
  target: "node24",
  legalComments: "none",
  // Some of AWS's packages are CommonJS and ask for Node's own modules.
  banner: { js: 'import{createRequire as createRequireOfNode}from"node:module";const require=createRequireOfNode(import.meta.url);' },
});

const named = new Set();
for (const input of Object.keys(result.metafile.inputs)) {
  const found = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input);
  if (found) named.add(found[1]);
}
// Most are of AWS, under one licence.
const packagesByLicense = new Map();
for (const name of [...named].sort()) {
  const folder = join(HERE, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file ? readFileSync(join(folder, file), "utf8").trim() : license;
  packagesByLicense.set(text, [...(packagesByLicense.get(text) ?? []), `${name} ${version}`]);
}
const licenses = [...packagesByLicense].map(([text, packages]) => `${packages.join("\n")}\n\n${text}\n`);
writeFileSync(join(FOLDER, "licenses.txt"), licenses.join("\n----\n\n"));
