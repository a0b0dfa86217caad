// Makes the component of a plugin in JavaScript: `node build.mjs MAIN.js`, as `tidegate plugin build` runs it.

import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

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

/** A package beside the project or in NODE_PATH, where a plain `import` would not look. */
async function load(name) {
  const places = createRequire(join(process.cwd(), 'x')).resolve.paths(name);
  const home = places.map((place) => join(place, name)).find((place) => existsSync(join(place, 'package.json')));
  if (!home) {
    console.error(`${name} is not here: run \`npm ci\` in the project`);
    process.exit(1);
  }
  const { exports } = JSON.parse(await readFile(join(home, 'package.json'), 'utf8'));
  const main = exports.import ?? exports['.'].import ?? exports['.'].default ?? exports['.'];
  return import(pathToFileURL(join(home, main)));
}
