// Makes the component of a plugin in JavaScript: `node build.mjs MAIN.js`, as `tidegate plugin build` runs it.

import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const { TIDEGATE_OUT, TIDEGATE_WIT, TIDEGATE_WORLD } = process.env;

const { componentize } = await load('@bytecodealliance/componentize-js');
const { build } = await load('rolldown');

// One file, so that a plugin may import the SDK and whatever npm has; what the host gives stays an import.
const bundle = `${TIDEGATE_OUT}.js`;
await build({
  input: process.argv[2],
  external: /^tidegate:/,
  output: { file: bundle, format: 'esm' },
  logLevel: 'warn',
});
const { component } = await componentize({
  sourcePath: bundle,
  witPath: TIDEGATE_WIT,
  worldName: TIDEGATE_WORLD,
  // Whatever is left on would import wasi:*, and a plugin that imports that is refused.
  disableFeatures: ['random', 'stdio', 'clocks', 'http', 'fetch-event'],
});
await writeFile(TIDEGATE_OUT, component);

/** A package beside the project, in NODE_PATH, or beside this file; a plain `import` would look only here. */
async function load(name) {
  const from = (place) => createRequire(place).resolve.paths(name);
  const places = [...from(join(process.cwd(), 'x')), ...from(import.meta.url)];
  const home = places.map((place) => join(place, name)).find((place) => existsSync(join(place, 'package.json')));
  if (!home) {
    console.error(`${name} is not here: run \`npm install --no-save --ignore-scripts --prefix ${dirname(fileURLToPath(import.meta.url))}\``);
    process.exit(1);
  }
  const { exports } = JSON.parse(await readFile(join(home, 'package.json'), 'utf8'));
  const main = exports.import ?? exports['.'].import ?? exports['.'].default ?? exports['.'];
  return import(pathToFileURL(join(home, main)));
}
