// `node build.mjs [ROOT]`: builds the pages into ROOT (default: the repository), the same bytes each time.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = process.argv[2] ?? dirname(HERE);
const PACKAGES = new Set();

async function bundled(entry) {
  const result = await build({
    absWorkingDir: HERE,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    outdir: "out",
    format: "iife",
    target: ["chrome109", "firefox115", "safari16"],
    charset: "ascii",
    legalComments: "none",
    jsx: "automatic",
    jsxImportSource: "preact",
  });
  for (const input of Object.keys(result.metafile.inputs)) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input);
    if (found) PACKAGES.add(found[1]);
  }
  const text = (suffix) => result.outputFiles.find((file) => file.path.endsWith(suffix))?.text ?? "";
  return { script: text(".js").trim(), style: text(".css").trim() };
}

function hash(text) {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

function write(path, text) {
  mkdirSync(dirname(join(ROOT, path)), { recursive: true });
  writeFileSync(join(ROOT, path), text);
}

function licenses() {
  return [...PACKAGES].sort().map((name) => {
    const folder = join(HERE, "node_modules", name);
    const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    if (!file) throw new Error(`${name} has no license file`);
    return `${name} ${version}\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
  });
}

function filled(template, values) {
  // A function: in a string, "$&" and its like would be replaced.
  return Object.entries(values).reduce((text, [name, value]) => text.replaceAll(`@@${name}@@`, () => value), template);
}

// One report is one file that opens from a disk: script and style stand in it, and are all that may run.
const report = await bundled("src/report.tsx");
if (report.script.includes("</script")) throw new Error("the script would end its own element");
const template = readFileSync(join(HERE, "src/report.html"), "utf8");
write(
  "container/runner/report_page.html",
  filled(template, { SCRIPT_HASH: hash(report.script), STYLE_HASH: hash(report.style), SCRIPT: report.script, STYLE: report.style }),
);

const portal = await bundled("src/portal.tsx");
write("pages/dist/portal.js", `${portal.script}\n`);
write("pages/dist/portal.css", `${portal.style}\n`);
for (const page of ["index.html", "project.html", "not-found.html"]) write(`pages/dist/${page}`, readFileSync(join(HERE, "src", page), "utf8"));
write("pages/dist/licenses.txt", licenses().join("\n----\n\n"));
