// Bundles GraphiQL and the sign-in page into the folder given as argument: their HTML, and under assets/
// everything they load, each file named after a hash of its content, so that browsers may keep it for ever.
import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

import { build } from "esbuild";

const out = process.argv[2];

const WORKERS = {
  editor: "monaco-editor/esm/vs/editor/editor.worker.js",
  graphql: "monaco-graphql/esm/graphql.worker.js",
  json: "monaco-editor/esm/vs/language/json/json.worker.js",
};

const common = {
  bundle: true,
  minify: true,
  metafile: true,
  logLevel: "warning",
  legalComments: "linked",
  target: "es2022",
  outdir: join(out, "assets"),
  entryNames: "[name]-[hash]",
  chunkNames: "chunk-[hash]",
  assetNames: "[name]-[hash]",
  define: { "process.env.NODE_ENV": '"production"' },
  // As files, not `data:` addresses: one copy each, and the policy stays narrow.
  loader: { ".svg": "file", ".ttf": "file", ".woff": "file", ".woff2": "file" },
};

/** Maps each entry point to the name of the file made of it. */
function entries(result) {
  return Object.fromEntries(
    Object.entries(result.metafile.outputs)
      .filter(([, output]) => output.entryPoint)
      .map(([file, output]) => [output.entryPoint, { file: basename(file), ...output }]),
  );
}

const workers = entries(
  await build({ ...common, entryPoints: WORKERS, entryNames: "[name].worker-[hash]" }),
);
const workerFiles = Object.fromEntries(
  Object.entries(WORKERS).map(([label, source]) => [label, workers[`node_modules/${source}`].file]),
);

const page = await build({
  ...common,
  entryPoints: ["src/main.jsx"],
  format: "esm",
  splitting: true,
  jsx: "automatic",
  // GraphiQL asks for these by old names, which stand for scripts whose parsers a split bundle
  // cannot see: "prettify" would fail. Their modules are the same code.
  alias: {
    "prettier/parser-babel": "prettier/plugins/babel",
    "prettier/parser-graphql": "prettier/plugins/graphql",
  },
  define: { ...common.define, WORKERS: JSON.stringify(workerFiles) },
});
const main = entries(page)["src/main.jsx"];
const signIn = entries(
  await build({ ...common, entryPoints: ["src/sign-in.js"], format: "esm" }),
)["src/sign-in.js"];
const icon = Object.keys(page.metafile.outputs).find((file) => /\/icon-[^/]*\.svg$/.test(file));

// Relative to /graphql and /sign-in, where the pages are served.
for (const [name, entry] of [["index.html", main], ["sign-in.html", signIn]]) {
  const addresses = { script: entry.file, style: basename(entry.cssBundle), icon: basename(icon) };
  const template = await readFile(`src/${name}`, "utf8");
  const html = template.replace(/%(\w+)%/g, (_, key) => `graphiql/assets/${addresses[key]}`);
  await writeFile(join(out, name), html);
}
