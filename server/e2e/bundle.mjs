// Bundles page/client.js with matrix-js-sdk into the folder given: a page that any web server can serve. A second argument
// names another version of the library to take, as package.json calls it.
// The crypto library is a .wasm file that its loader looks for beside the bundle, below pkg/.
import { build } from "esbuild";
import { copyFile, mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const out = process.argv[2];
const sdk = process.argv[3] ?? "matrix-js-sdk";

await build({
    entryPoints: [path.join(here, "page/client.js")],
    outfile: path.join(out, "client.js"),
    bundle: true,
    format: "esm", // the loader of the .wasm file needs import.meta.url
    target: "chrome120",
    alias: sdk === "matrix-js-sdk" ? {} : { "matrix-js-sdk": sdk },
    define: { global: "globalThis" },
    sourcemap: "inline",
    logLevel: "warning",
});
await copyFile(path.join(here, "page/index.html"), path.join(out, "index.html"));

const wasm = "pkg/matrix_sdk_crypto_wasm_bg.wasm";
const crypto = path.dirname(createRequire(createRequire(import.meta.url).resolve(sdk)).resolve("@matrix-org/matrix-sdk-crypto-wasm"));
await mkdir(path.join(out, "pkg"), { recursive: true });
await copyFile(path.join(crypto, wasm), path.join(out, wasm));
